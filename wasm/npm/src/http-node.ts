/**
 * `webtun/http` for Node.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { wasmOf } from "./connect.js";
import { compile } from "./engine/compile.js";
import { lazyHttp, type CreateHttpOptions, type HttpLayer } from "./http/index.js";

/** A layer of its own, where the WebAssembly is not beside the script. */
export function createHttp({ wasm }: CreateHttpOptions = {}): HttpLayer {
  const file = (): Promise<Uint8Array<ArrayBuffer>> => readFile(new URL("./webtun_http_bg.wasm", import.meta.url));
  return lazyHttp(async () => compile(wasmOf(wasm ?? (await file())) ?? ""));
}

/** The layer for the option `http` of `connect`. Its WebAssembly is read while the tunnel opens. */
export const http: HttpLayer = createHttp();

export * from "./http/index.js";
