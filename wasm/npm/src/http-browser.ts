/**
 * A fetch through the tunnel, by hyper in WebAssembly.
 *
 * @example
 * import { connect } from "webtun";
 * import { http } from "webtun/http";
 * import { tls } from "webtun/tls";
 * const net = await connect("wss://gateway.example/", { http, tls });
 * const response = await net.fetch("https://api.example/");
 *
 * @module
 */
import { wasmOf } from "./connect.js";
import { compile } from "./engine/compile.js";
import { lazyHttp, type CreateHttpOptions, type HttpLayer } from "./http/index.js";

/** A layer of its own, where the WebAssembly is not beside the script. */
export function createHttp({ wasm }: CreateHttpOptions = {}): HttpLayer {
  return lazyHttp(() => compile(wasmOf(wasm) ?? new URL("./webtun_http_bg.wasm", import.meta.url).href));
}

/** The layer for the option `http` of `connect`. Its WebAssembly is fetched while the tunnel opens. */
export const http: HttpLayer = createHttp();

export * from "./http/index.js";
