/** A tunnel as a program sees it. */
import type { IpFamily } from "./address.js";
import { defineTCPServerSocket } from "./direct-sockets/tcp-server-socket.js";
import { defineTCPSocket } from "./direct-sockets/tcp-socket.js";
import type {
  SocketDnsQueryType,
  TCPServerSocketConstructor,
  TCPSocketConstructor,
  UDPSocketConstructor,
} from "./direct-sockets/types.js";
import { defineUDPSocket } from "./direct-sockets/udp-socket.js";
import type { PingReply } from "./engine/names.js";
import type { Fetch, HttpLayer } from "./http/layer.js";
import { closedByOwner, rethrow, type Link } from "./link/link.js";
import type { TcpTuning } from "./link/protocol.js";
import { attachmentHere, attachProgram, type ProgramOptions, type ProgramWorker } from "./program.js";
import { NetworkStatus } from "./status.js";
import type { TlsLayer } from "./tls/layer.js";
import { connectSocket, type ConnectSocketOptions, type Socket, type SocketAddress } from "./wintertc.js";

/** Milliseconds that the engine has to say goodbye to the gateway. */
const CLOSE_TIMEOUT = 1000;

export interface ResolveOptions {
  /** Only addresses of this family. */
  family?: IpFamily | undefined;
}

export interface PingOptions {
  /** Octets of payload; 56 by default, at most 65,507. */
  size?: number | undefined;
  /** Milliseconds; 5000 by default. */
  timeout?: number | undefined;
  /** To which family a name is resolved. */
  family?: SocketDnsQueryType | undefined;
}

/** A message that crossed the WebSocket, for {@link Network.trace}. Decode it with `webtun/wire`. */
export type TraceListener = (direction: "sent" | "received", message: Uint8Array) => void;

/** Parts that a program brings along. */
interface Layers {
  readonly tls?: TlsLayer | undefined;
  readonly http?: HttpLayer | undefined;
}

const noHttp: Fetch = async () => {
  const words = 'this tunnel has no HTTP: import { http } from "webtun/http" and give it to connect() as an option';
  throw new DOMException(words, "NotSupportedError");
};

/** The names that {@link Network.install} sets. */
const CLASSES = ["TCPSocket", "UDPSocket", "TCPServerSocket"] as const;

/**
 * A tunnel to a gateway, with everything a network card gives: sockets, names and ping.
 *
 * @example
 * const net = await connect("wss://gateway.example/", { token });
 * const socket = new net.TCPSocket("db.example", 5432);
 */
export class Network {
  /** `TCPSocket` of Direct Sockets, through this tunnel. */
  readonly TCPSocket: TCPSocketConstructor;
  /** `UDPSocket` of Direct Sockets, through this tunnel. */
  readonly UDPSocket: UDPSocketConstructor;
  /** `TCPServerSocket` of Direct Sockets, through this tunnel. */
  readonly TCPServerSocket: TCPServerSocketConstructor;
  /**
   * The platform's `fetch`, through this tunnel; bound, so it can be handed on. It needs the option `http` of `connect`,
   * and for https: the option `tls` as well. Without CORS every response can be read, and every header be sent.
   *
   * @throws TypeError where the request cannot be made; its `code` says which failure of the network it was
   *
   * @example
   * const response = await net.fetch("https://api.example/items", { signal: AbortSignal.timeout(5000) });
   */
  readonly fetch: Fetch;
  /** State, addresses, rates and round-trip time, with events. */
  readonly status = new NetworkStatus();
  readonly #link: Link;
  readonly #layers: Layers;
  readonly #tracers = new Set<TraceListener>();

  /** @internal */
  constructor(link: Link, layers: Layers = {}) {
    this.#link = link;
    this.#layers = layers;
    this.fetch = layers.http?.over((address, options) => this.#dial(address, options, { noDelay: true })) ?? noHttp;
    const sockets = defineTCPSocket(link);
    this.TCPSocket = sockets.TCPSocket;
    this.UDPSocket = defineUDPSocket(link);
    this.TCPServerSocket = defineTCPServerSocket(link, sockets);
    this.connect = this.connect.bind(this);
    link.ontunnel = (event) => {
      if (event.event !== "trace") return this.status.handleEvent(event);
      const message = new Uint8Array(event.data);
      for (const tracer of this.#tracers) tracer(event.direction, message);
    };
  }

  /**
   * Connects in the shape of the WinterTC Sockets API. The function is bound, so it can be handed on.
   *
   * @throws TypeError where the address or an option is malformed
   * @throws DOMException `NotSupportedError` for TLS on a tunnel that was opened without the option `tls`
   *
   * @example
   * const socket = net.connect({ hostname: "example.org", port: 80 });
   * await socket.writable.getWriter().write(new TextEncoder().encode("HEAD / HTTP/1.0\r\n\r\n"));
   * const text = await new Response(socket.readable).text();
   */
  connect(address: SocketAddress | string, options?: ConnectSocketOptions): Socket {
    return this.#dial(address, options, {});
  }

  #dial(address: SocketAddress | string, options: ConnectSocketOptions | undefined, tuning: TcpTuning): Socket {
    return connectSocket({ link: this.#link, tls: this.#layers.tls, tuning }, address, options);
  }

  /**
   * Looks a name up with the gateway's resolver.
   *
   * @returns its addresses, at least one
   * @throws DOMException `NetworkError` with code `ENOTFOUND` or `EAI_AGAIN`
   */
  resolve(name: string, { family }: ResolveOptions = {}): Promise<string[]> {
    const call = { op: "resolve" as const, name: String(name), ...(family !== undefined && { family }) };
    return this.#link.call<string[]>(call).catch(rethrow(`resolve ${name}`));
  }

  /**
   * Sends one ICMP echo request.
   *
   * @throws DOMException `NetworkError` with code `ETIMEDOUT`, `EHOSTUNREACH`, ...
   *
   * @example
   * const { rtt, address } = await net.ping("example.org", { timeout: 1000 });
   */
  ping(host: string, { size = 56, timeout = 5000, family }: PingOptions = {}): Promise<PingReply> {
    const settings = { host: String(host), size, timeout, ...(family !== undefined && { family }) };
    return this.#link.call<PingReply>({ op: "ping", ...settings }).catch(rethrow(`ping ${host}`));
  }

  /**
   * Gives a program that was built by `emcc` with the flags of `npx webtun emcc-flags` POSIX sockets. The program waits
   * for this before its `main`. Call it once for each Worker, right after it was made.
   *
   * @param worker - the Worker whose script is the output of emcc
   * @throws Error where the page is not cross-origin isolated, so that there is no shared memory
   *
   * @example
   * net.attach(new Worker("app.js"));
   */
  attach(worker: ProgramWorker, options: ProgramOptions = {}): void {
    attachProgram(this.#link, this.status, worker, options);
  }

  /**
   * What a program needs that runs in this thread: one that was linked with -sJSPI or -sASYNCIFY, or whose `main` is in a
   * thread of its own (-pthread -sPROXY_TO_PTHREAD). It is given to emcc's module. A tunnel that was opened with
   * `worker: false` asks for no shared memory, so that it works in every page. Call it once for each program.
   *
   * @throws Error where the stack runs in a Worker and the page is not cross-origin isolated
   *
   * @example
   * await createModule({ ...net.attachment() });
   */
  attachment(options: ProgramOptions = {}): { webtun: object } {
    return attachmentHere(this.#link, this.status, options);
  }

  /**
   * Puts the classes where programs written for Direct Sockets look for them.
   *
   * @param target - `globalThis`, as a rule
   * @returns a function that puts back what was there before
   */
  install(target: object): () => void {
    const before = CLASSES.map((name) => Object.getOwnPropertyDescriptor(target, name));
    for (const name of CLASSES) {
      Object.defineProperty(target, name, { value: this[name], configurable: true, writable: true });
    }
    return () => {
      for (const [index, name] of CLASSES.entries()) {
        const descriptor = before[index];
        if (descriptor === undefined) Reflect.deleteProperty(target, name);
        else Object.defineProperty(target, name, descriptor);
      }
    };
  }

  /**
   * Shows every message that crosses the WebSocket, for debugging.
   *
   * @returns a function that ends it
   */
  trace(listener: TraceListener): () => void {
    this.#tracers.add(listener);
    if (this.#tracers.size === 1) this.#link.post({ op: "trace", on: true });
    return () => {
      if (this.#tracers.delete(listener) && this.#tracers.size === 0) this.#link.post({ op: "trace", on: false });
    };
  }

  /** Ends the session and everything that goes through it. Resolves when the gateway has been told. */
  close(): Promise<void> {
    if (this.#link.dead !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#link.fail(closedByOwner()), CLOSE_TIMEOUT);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      this.status.addEventListener("closed", done, { once: true });
      this.#link.post({ op: "end" });
    });
  }
}
