// A classic Worker around an emcc program: hands its lines and its end to the page.
const { program, args, files = {}, keep, without } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const tell = (message) => postMessage(message);
// As in a page without the two headers.
if (without !== undefined) delete self[without];
let buffers = 0;
const Shared = self.SharedArrayBuffer;
if (Shared !== undefined) {
  self.SharedArrayBuffer = new Proxy(Shared, { construct: (target, given) => (buffers++, new target(...given)) });
}

/** Text as it is given, and for a number so many octets. */
function contents(given) {
  return typeof given === "number" ? Uint8Array.from({ length: given }, (_, at) => at % 251) : given;
}

/** The files in the folder `keep`. */
function kept() {
  const names = keep === undefined ? [] : FS.readdir(keep).filter((name) => !name.startsWith("."));
  return Object.fromEntries(names.map((name) => [name, FS.readFile(`${keep}/${name}`)]));
}

// What emcc's output looks for.
self.Module = {
  arguments: args,
  print: (line) => tell({ line }),
  printErr: (line) => tell({ line, error: true }),
  preRun: () => {
    for (const [name, given] of Object.entries(files)) FS.writeFile(name, contents(given));
    if (keep !== undefined) FS.mkdir(keep);
  },
  onExit: (code) => tell({ exit: code, buffers, files: kept() }),
  onAbort: (what) => tell({ failure: String(what) }),
  locateFile: (name) => `/programs/${name}`,
  // What the program's threads load.
  mainScriptUrlOrBlob: `/programs/${program}.js`,
};
importScripts(`/programs/${program}.js`);
