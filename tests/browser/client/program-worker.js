// A classic Worker around an emcc program: hands its lines and its end to the page.
const { program, args } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const tell = (message) => postMessage(message);
let buffers = 0;
const Shared = self.SharedArrayBuffer;
if (Shared !== undefined) {
  self.SharedArrayBuffer = new Proxy(Shared, { construct: (target, given) => (buffers++, new target(...given)) });
}
// What emcc's output looks for.
self.Module = {
  arguments: args,
  print: (line) => tell({ line }),
  printErr: (line) => tell({ line, error: true }),
  onExit: (code) => tell({ exit: code, buffers }),
  onAbort: (what) => tell({ failure: String(what) }),
  locateFile: (name) => `/programs/${name}`,
};
importScripts(`/programs/${program}.js`);
