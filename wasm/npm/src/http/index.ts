/** Makes the layer of an entry point, which knows where the WebAssembly is. */
import type { WasmSource } from "../connect.js";
import { Lazy } from "../lazy.js";
import { HttpEngine } from "./engine.js";
import { makeFetch } from "./fetch.js";
import type { HttpLayer } from "./layer.js";
import { Pool } from "./pool.js";

/** HTTP whose WebAssembly is compiled while the tunnel opens: who brings it along is going to fetch. */
export function lazyHttp(compile: () => Promise<WebAssembly.Module>): HttpLayer {
  const engine = new Lazy("webtun/http", compile, (module) => new HttpEngine(module));
  return {
    over(dial) {
      // What fails now is told by the first request, which tries again.
      engine.get().catch(() => {});
      return makeFetch(new Pool(() => engine.get(), dial));
    },
  };
}

/** Options of `createHttp`. */
export interface CreateHttpOptions {
  /** Where `webtun_http_bg.wasm` is, where the default place does not fit. */
  wasm?: WasmSource | undefined;
}

export type { Dial, Fetch, FetchInit, FetchProgress, HttpLayer } from "./layer.js";
