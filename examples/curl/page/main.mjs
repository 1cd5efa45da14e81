// A terminal whose commands are the programs that programs.json names. `?gateway=wss://...` names the gateway, which otherwise is where the page comes
// from; `#curl ...`, or another command, is run at once.
import { Terminal } from "@xterm/xterm";
import { connect } from "webtun";
import { LineEditor } from "./line-editor.mjs";
import { wordsOf } from "./words.mjs";

const terminal = new Terminal({ convertEol: true, rows: 32, cols: 100 });
terminal.open(document.querySelector("#terminal"));

const gateway = new URLSearchParams(location.search).get("gateway") ?? `${location.origin.replace("http", "ws")}/`;
let worker;

/** Runs a program in a Worker of its own; resolves with its exit status. */
function start(net, program, args) {
  return new Promise((resolve) => {
    worker = new Worker("worker.js");
    worker.onmessage = ({ data }) => {
      if (data.text !== undefined) return terminal.write(data.text);
      if (data.failure !== undefined) terminal.writeln(data.failure);
      const { exit = 1, files = [] } = data;
      const octets = files.reduce((sum, { size }) => sum + size, 0);
      if (files.length > 0) terminal.writeln(`${files.length} files, ${octets} octets`);
      worker.terminate();
      worker = undefined;
      resolve(exit);
    };
    worker.onerror = ({ message }) => worker.onmessage({ data: { failure: message } });
    worker.postMessage({ program, args });
    // Where it listens, the port is asked for outside, too.
    net.attach(worker, { external: true });
  });
}

/** What a line asks for; resolves with an exit status, as in a shell. */
async function run(net, programs, line) {
  const [program, ...args] = wordsOf(line);
  if (program === undefined) return 0;
  if (Object.hasOwn(programs, program)) return start(net, program, args);
  terminal.writeln(`${program}: there is only ${Object.keys(programs).join(", ")}`);
  return 127;
}

async function main() {
  terminal.writeln(`connecting to ${gateway}`);
  const programs = await (await fetch("programs.json")).json();
  const net = await connect(gateway);
  for (const line of Object.values(programs)) terminal.writeln(`    ${line}`);
  const editor = new LineEditor(terminal);
  terminal.onData((data) => {
    if (worker !== undefined && data === "\x03") worker.onmessage({ data: { failure: "^C", exit: 130 } });
    else if (worker === undefined) editor.take(data);
  });
  const given = decodeURIComponent(location.hash.slice(1));
  if (given !== "") editor.take(`${given}\r`);
  for (;;) {
    const status = await run(net, programs, await editor.line());
    document.documentElement.dataset.status = status;
  }
}

main().catch((error) => terminal.writeln(`webtun: ${error.message}`));
