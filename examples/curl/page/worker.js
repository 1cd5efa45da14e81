// A program, once: begins when it is told its name and its arguments, and ends with its exit status and what files it has left.
const FOLDER = "/files";

/** Octets of one stream, handed over by the line: a terminal wants them soon, a page not one by one. */
function stream() {
  const decoder = new TextDecoder();
  let octets = [];
  const flush = () => {
    if (octets.length > 0) postMessage({ text: decoder.decode(Uint8Array.from(octets), { stream: true }) });
    octets = [];
  };
  const write = (octet) => {
    if (octet === null) return flush();
    octets.push(octet & 255);
    if (octet === 10 || octet === 13 || octets.length >= 4096) flush();
  };
  return { write, flush };
}

const output = stream();
const errors = stream();

function files() {
  const names = FS.readdir(FOLDER).filter((name) => !name.startsWith("."));
  return names.map((name) => ({ name, size: FS.stat(`${FOLDER}/${name}`).size }));
}

addEventListener("message", function begin({ data }) {
  if (data.args === undefined) return;
  removeEventListener("message", begin);
  self.Module = {
    arguments: data.args,
    // No input: what is typed while a program runs is not its own.
    preRun: () => {
      FS.init(() => null, output.write, errors.write);
      FS.mkdir(FOLDER);
      FS.chdir(FOLDER);
    },
    onExit: (exit) => {
      output.flush();
      errors.flush();
      postMessage({ exit, files: files() });
    },
    onAbort: (what) => postMessage({ failure: String(what) }),
  };
  importScripts(`${data.program}.js`);
});
