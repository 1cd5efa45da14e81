/**
 * Sockets for WASI programs, in the Worker that such a program runs in; the page calls `net.attach(worker)`.
 *
 * @example
 * import { WASI } from "@bjorn3/browser_wasi_shim";
 * import { wasiSockets } from "webtun/wasi";
 * const program = (await wasiSockets()).preview1(new WASI(["app"], [], [], { debug: false }));
 * const { instance } = await WebAssembly.instantiateStreaming(fetch("app.wasm"), program.imports);
 * program.start(instance);
 *
 * @module
 */
import { browserThread } from "./posix/attachment.js";
import { openSockets, type WasiOptions, type WasiSockets } from "./wasi/sockets.js";

/** Waits until the page has called `net.attach(worker)`. To be called before anything else is waited for. */
export function wasiSockets(options: WasiOptions = {}): Promise<WasiSockets> {
  return openSockets(browserThread(), options);
}

export * from "./wasi/index.js";
