/**
 * The entry for libraries and unusual loaders: nothing is fetched by itself. `options.wasm` is required, unless
 * `options.worker` names a script.
 *
 * @example
 * import { connect } from "webtun/slim";
 * const net = await connect(url, { wasm: await WebAssembly.compileStreaming(fetch("/assets/webtun_slim_bg.wasm")) });
 *
 * `webtun_slim_bg.wasm` is the stack without connections that the gateway makes (`split`); `webtun_bg.wasm`, which has them, does
 * as well.
 *
 * @module
 */
import { browserPlatform } from "./browser.js";
import { makeConnect, type Connect } from "./connect.js";
import { openInPlace } from "./engine/in-place.js";

function missing(): never {
  throw new TypeError("webtun/slim needs options.wasm or options.worker");
}

/** As `connect` of `webtun`, in this thread unless `options.worker` names a script. */
export const connect: Connect = makeConnect(browserPlatform({ inPlace: (config) => openInPlace(config, missing) }));

export * from "./exports.js";
