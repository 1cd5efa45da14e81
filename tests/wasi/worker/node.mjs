// The same in a Worker of Node.
import fs from "node:fs";
import { readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { WASI } from "node:wasi";
import { parentPort, workerData } from "node:worker_threads";
import { wasiSockets } from "../../../wasm/npm/dist/wasi-node.js";
import { run } from "./run.mjs";

const built = (name) => new URL(`../../../target/emscripten/${name}`, import.meta.url);
console.warn = (line) => parentPort.postMessage({ line, error: true });

/** Node's own shim, which writes to files of the system alone. */
function nodeShim(program, tell) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-wasi-"));
  const written = fs.openSync(path.join(folder, "stdout"), "w+");
  const shim = new WASI({ version: "preview1", args: [program], stdout: written, returnOnExit: true });
  const start = (instance) => {
    const status = shim.start(instance);
    const lines = fs.readFileSync(path.join(folder, "stdout"), "utf8").split("\n");
    fs.closeSync(written);
    fs.rmSync(folder, { recursive: true });
    for (const line of lines.slice(0, -1)) tell({ line });
    return status;
  };
  return { wasiImport: shim.wasiImport, start };
}

await run(workerData, {
  wasiSockets,
  compile: async (program) => WebAssembly.compile(await readFile(built(`${program}.wasm`))),
  load: (component) => import(built(`${component}/component.js`)),
  shims: { node: nodeShim },
  tell: (message) => parentPort.postMessage(message),
});
