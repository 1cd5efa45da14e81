// The same in Node, whose own fetch the programs of emcc 3.1.6 would take for a browser's.
const { parentPort, workerData } = require("node:worker_threads");
delete globalThis.fetch;
let buffers = 0;
globalThis.SharedArrayBuffer = new Proxy(SharedArrayBuffer, {
  construct: (target, given) => (buffers++, new target(...given)),
});
process.argv.splice(2, process.argv.length, ...workerData.args);
process.on("exit", (code) => parentPort.postMessage({ exit: code, buffers }));
require(workerData.file);
