/** Makes the layer of an entry point, which knows where the WebAssembly is. */
import type { WasmSource } from "../connect.js";
import { Lazy } from "../lazy.js";
import { TlsEngine, type Session } from "./engine.js";
import type { TlsLayer } from "./layer.js";
import type { TlsParameters } from "./options.js";
import { TlsStreams } from "./streams.js";

/** TLS whose WebAssembly is compiled when the first connection needs it. */
export function lazyTls(compile: () => Promise<WebAssembly.Module>): TlsLayer {
  const engine = new Lazy("webtun/tls", compile, (module) => new TlsEngine(module));
  const open = async (parameters: TlsParameters): Promise<Session> => (await engine.get()).open(parameters);
  return { secure: (transport, parameters) => new TlsStreams(open, transport, parameters) };
}

/** Options of `createTls`. */
export interface CreateTlsOptions {
  /** Where `webtun_tls_bg.wasm` is, where the default place does not fit. */
  wasm?: WasmSource | undefined;
}

export type { SecureStreams, StreamPair, TlsInfo, TlsLayer } from "./layer.js";
export { tlsParameters, type TlsOptions, type TlsParameters } from "./options.js";
