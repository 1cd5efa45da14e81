/**
 * The entry for libraries and unusual loaders: nothing is fetched by itself. `options.wasm` is required, unless
 * `options.worker` names a script.
 *
 * @example
 * import { connect } from "webtun/slim";
 * const net = await connect(url, { wasm: await WebAssembly.compileStreaming(fetch("/assets/webtun_bg.wasm")) });
 *
 * @module
 */
import { browserPlatform } from "./browser.js";
import { makeConnect, type Connect } from "./connect.js";
import { openInPlace } from "./engine/in-place.js";

function missing(): never {
  throw new TypeError("webtun/slim needs options.wasm, or options.worker as a URL");
}

/** As `connect` of `webtun`, in this thread unless `options.worker` names a script. */
export const connect: Connect = makeConnect(browserPlatform({ inPlace: (config) => openInPlace(config, missing) }));

export * from "./exports.js";
