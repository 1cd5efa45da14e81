/**
 * TLS for the sockets of a tunnel, by rustls in WebAssembly.
 *
 * @example
 * import { connect } from "webtun";
 * import { tls } from "webtun/tls";
 * const net = await connect("wss://gateway.example/", { tls });
 * const socket = net.connect("db.example:5433", { secureTransport: "on" });
 *
 * @module
 */
import { wasmOf } from "./connect.js";
import { compile } from "./engine/compile.js";
import { lazyTls, type CreateTlsOptions, type TlsLayer } from "./tls/index.js";

/** A layer of its own, where the WebAssembly is not beside the script. */
export function createTls({ wasm }: CreateTlsOptions = {}): TlsLayer {
  return lazyTls(() => compile(wasmOf(wasm) ?? new URL("./webtun_tls_bg.wasm", import.meta.url).href));
}

/** The layer for the option `tls` of `connect`. Its WebAssembly is fetched when it is used. */
export const tls: TlsLayer = createTls();

export * from "./tls/index.js";
