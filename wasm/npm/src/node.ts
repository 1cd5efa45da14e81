/**
 * The entry for Node 20 and later, as ES module and CommonJS. The stack runs in this thread; the WebSocket is that of
 * the package `ws`, or the platform's where `ws` is not installed.
 *
 * @module
 */
import { makeConnect, type Connect } from "./connect.js";
import { openInPlace } from "./engine/in-place.js";
import { readOctets, webSocketFactory } from "./node-platform.js";

/** Opens a tunnel to a gateway; see the README. */
export const connect: Connect = makeConnect({
  async openChannel(config, options) {
    if (options.worker) throw new Error("in Node the stack runs in the thread that calls connect(); leave worker out");
    const octets = (): Promise<ArrayBuffer> => readOctets(new URL("./webtun_bg.wasm", import.meta.url));
    return openInPlace(config, octets, await webSocketFactory());
  },
});

export * from "./exports.js";
