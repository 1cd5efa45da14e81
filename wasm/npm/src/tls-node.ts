/**
 * `webtun/tls` for Node.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { wasmOf } from "./connect.js";
import { compile } from "./engine/compile.js";
import { lazyTls, type CreateTlsOptions, type TlsLayer } from "./tls/index.js";

/** A layer of its own, where the WebAssembly is not beside the script. */
export function createTls({ wasm }: CreateTlsOptions = {}): TlsLayer {
  const file = (): Promise<Uint8Array<ArrayBuffer>> => readFile(new URL("./webtun_tls_bg.wasm", import.meta.url));
  return lazyTls(async () => compile(wasmOf(wasm ?? (await file())) ?? ""));
}

/** The layer for the option `tls` of `connect`. Its WebAssembly is read when it is used. */
export const tls: TlsLayer = createTls();

export * from "./tls/index.js";
