// The Worker of a page. Its setting is in its address.
import { wasiSockets } from "/webtun/wasi.js";
import { run } from "./run.mjs";

const setting = JSON.parse(decodeURIComponent(location.hash.slice(1)));
console.warn = (line) => postMessage({ line, error: true });
// As in a page without the two headers.
if (setting.without !== undefined) delete self[setting.without];

await run(setting, {
  wasiSockets,
  compile: (program) => WebAssembly.compileStreaming(fetch(`/programs/${program}.wasm`)),
  load: (component) => import(`/programs/${component}/component.js`),
  tell: (message) => postMessage(message),
});
