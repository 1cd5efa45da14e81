/**
 * The entry that needs no file beside the bundle: script and WebAssembly are inside, at the price of a third more octets.
 *
 * @module
 */
import { browserPlatform } from "./browser.js";
import { makeConnect, type Connect } from "./connect.js";
import { inlineParts } from "./inline-parts.js";

/** As `connect` of `webtun`. */
export const connect: Connect = makeConnect(browserPlatform(inlineParts));

export * from "./exports.js";
