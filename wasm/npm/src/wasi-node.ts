/**
 * `webtun/wasi` for Workers of `node:worker_threads`.
 *
 * @module
 */
import * as threads from "node:worker_threads";
import { nodeThread } from "./posix/attachment.js";
import { openSockets, type WasiOptions, type WasiSockets } from "./wasi/sockets.js";

/** Waits until the main thread has called `net.attach(worker)`. */
export function wasiSockets(options: WasiOptions = {}): Promise<WasiSockets> {
  return openSockets(nodeThread(threads), options);
}

export * from "./wasi/index.js";
