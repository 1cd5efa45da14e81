/**
 * The entry for browsers. The Worker's script and the WebAssembly are files beside this one; where a bundler has not
 * copied them, copies inside a lazily loaded module are used.
 *
 * @example
 * import { connect } from "webtun";
 * const net = await connect("wss://gateway.example/", { token: "..." });
 *
 * @module
 */
import { browserPlatform, spawnWorker, type Parts } from "./browser.js";
import { makeConnect, type Connect } from "./connect.js";

function spawn(): Worker {
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  } catch {
    return spawnWorker(new URL("./worker.js", import.meta.url));
  }
}

const parts: Parts = {
  spawn,
  async inPlace(config) {
    const { openInPlace } = await import("./engine/in-place.js");
    return openInPlace(config, () => new URL("./webtun_bg.wasm", import.meta.url).href);
  },
  async fallback() {
    return (await import("./inline-parts.js")).inlineParts;
  },
};

/**
 * Opens a tunnel to a gateway. Resolves when it works.
 *
 * @throws DOMException `NetworkError` where the gateway cannot be reached, `NotAllowedError` where it refuses the token
 * @throws TypeError where the address or the token is malformed
 */
export const connect: Connect = makeConnect(browserPlatform(parts));

export * from "./exports.js";
