/** `connect()`: the same for all entry points, which differ in how they find the engine. */
import { failure, toException, wordsOf, type Failure } from "./errors.js";
import type { HttpLayer } from "./http/layer.js";
import { Link, type Channel } from "./link/link.js";
import type { EngineConfig } from "./link/protocol.js";
import { Network } from "./network.js";
import type { TlsLayer } from "./tls/layer.js";

/** The compiled stack, its octets, or where to fetch them. */
export type WasmSource = WebAssembly.Module | BufferSource | string | URL;

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** The bearer token that the gateway asks for. */
  token?: string | undefined;
  /**
   * Where the stack runs: `true` in a Worker, `false` in this thread, a URL in a Worker with this script (a copy of
   * `webtun/worker`). The default is a Worker in a page, and this thread in a Worker and in Node.
   */
  worker?: boolean | string | URL | undefined;
  /** Only where the default place of the WebAssembly file does not fit. */
  wasm?: WasmSource | undefined;
  /** The `tls` of `webtun/tls`, for `secureTransport`. */
  tls?: TlsLayer | undefined;
  /** The `http` of `webtun/http`, for `fetch`. */
  http?: HttpLayer | undefined;
  /** Gives up; with an `AbortError`. */
  signal?: AbortSignal | undefined;
}

/** What an entry point supplies. */
export interface Platform {
  openChannel(config: EngineConfig, options: ConnectOptions): Promise<Channel>;
}

/** Opens a tunnel; see {@link makeConnect}. */
export type Connect = (url: string | URL, options?: ConnectOptions) => Promise<Network>;

/** A token travels in the list of subprotocols, whose grammar is that of RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** The address of a gateway as a WebSocket's. */
export function gatewayUrl(url: string | URL): string {
  const base = typeof location === "undefined" ? undefined : location.href;
  let parsed: URL;
  try {
    parsed = new URL(url, base);
  } catch {
    throw new TypeError(`"${String(url)}" is not a URL`);
  }
  parsed.protocol = parsed.protocol.replace(/^http/, "ws");
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    throw new TypeError("the gateway's address begins with ws:, wss:, http: or https:");
  }
  parsed.hash = "";
  return parsed.href;
}

/** A token that can be sent. */
export function tokenOf(token: string | undefined): string | undefined {
  if (token !== undefined && !TOKEN.test(token)) {
    throw new TypeError("the token has characters that cannot be sent; use letters, digits and -._~");
  }
  return token;
}

/** The form of `source` that can be handed on. */
export function wasmOf(source: WasmSource | undefined): EngineConfig["wasm"] {
  if (source === undefined || source instanceof WebAssembly.Module || source instanceof ArrayBuffer) return source;
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice().buffer as ArrayBuffer;
  }
  const base = typeof location === "undefined" ? undefined : location.href;
  return new URL(source, base).href;
}

/** Resolves when the tunnel works, rejects where it never will. */
function established(network: Network, link: Link, url: string, signal: AbortSignal | undefined): Promise<Network> {
  return new Promise((resolve, reject) => {
    const { status } = network;
    const abort = (): void => {
      reject(signal?.reason);
      link.fail(failure("ECONNABORTED"));
    };
    signal?.addEventListener("abort", abort, { once: true });
    const settle = (): void => signal?.removeEventListener("abort", abort);
    status.addEventListener("connected", () => (settle(), resolve(network)), { once: true });
    status.addEventListener(
      "closed",
      () => {
        settle();
        reject(toException(status.error ?? failure("ENETDOWN"), `connect to the gateway ${url}`));
      },
      { once: true },
    );
  });
}

/** Makes the `connect` of an entry point. */
export function makeConnect(platform: Platform): Connect {
  return async (url, options = {}) => {
    const { signal } = options;
    signal?.throwIfAborted();
    const token = tokenOf(options.token);
    const wasm = wasmOf(options.wasm);
    const address = gatewayUrl(url);
    const config = { url: address, ...(token !== undefined && { token }), ...(wasm !== undefined && { wasm }) };
    const channel = await platform.openChannel(config, options).catch((error: unknown) => {
      const cause: Failure = failure("EIO", wordsOf(error));
      throw toException(cause, "start the network stack");
    });
    const link = new Link(channel);
    const network = new Network(link, options);
    if (signal?.aborted) link.fail(failure("ECONNABORTED"));
    signal?.throwIfAborted();
    return established(network, link, address, signal);
  };
}
