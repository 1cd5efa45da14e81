/**
 * TCP in the shape of a WebSocket, for programs of emcc that are built already: their sockets (SOCKFS) open
 * `ws://HOST:PORT/` and expect a proxy there. With this class they get the connection through the tunnel.
 *
 * @example
 * import { connect } from "webtun";
 * import { installWebSocket } from "webtun/websocket";
 * installWebSocket(await connect("wss://gateway.example/"));
 * // Then load the program.
 *
 * @module
 */
import { errorCode } from "./errors.js";
import type { Network } from "./network.js";
import { octetsOf } from "./streams.js";
import { WebSocketShape } from "./websocket-shape.js";

/** Octets that may wait for the network; a WebSocket that would have to keep more is closed, as the platform's. */
const MAX_BUFFERED = 64 * 1024 * 1024;

/** Close codes of RFC 6455 section 7.4.1. */
const NORMAL = 1000;
const ABNORMAL = 1006;

/** Handlers as properties, for events of these names. */
const EVENTS = ["open", "message", "error", "close"] as const;

type Handler = ((event: Event) => void) | null;

/** A socket of the tunnel. */
interface Transport {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<BufferSource>;
  readonly opened: Promise<unknown>;
  close(): Promise<unknown>;
}

/** Opens connections: a tunnel, or its `connect`. */
export type WebSocketNetwork = Pick<Network, "connect">;

/** The class for one tunnel. */
export type WebSocketClass = typeof WebSocket;

/** SOCKFS writes IPv6 addresses without brackets, so this is not for `URL` to read. */
function addressOf(url: string): { hostname: string; port: number } {
  const [, hostname, port] = /^(?:wss?:)?\/\/(.+):(\d{1,5})(?:[/?#].*)?$/.exec(url) ?? [];
  if (hostname === undefined || port === undefined || Number(port) === 0 || Number(port) > 65535) {
    throw new DOMException(`"${url}" is not of the form ws://host:port/`, "SyntaxError");
  }
  return { hostname, port: Number(port) };
}

/** Everything of a connection but the interface. */
abstract class TcpWebSocket extends WebSocketShape {
  binaryType: BinaryType = "blob";
  readonly #handlers = new Map<string, Handler>();
  readonly #transport: Transport;
  readonly #writer: WritableStreamDefaultWriter<BufferSource>;
  #readyState: 0 | 1 | 2 | 3 = 0;
  #bufferedAmount = 0;
  #sent: Promise<void> = Promise.resolve();

  protected constructor(net: WebSocketNetwork, url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    this.#transport = net.connect(addressOf(this.url), { allowHalfOpen: true });
    this.#writer = this.#transport.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#run().catch((error: unknown) => this.#fail(error));
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.#readyState;
  }

  get bufferedAmount(): number {
    return this.#bufferedAmount;
  }

  send(data: string | BufferSource | Blob): void {
    if (this.#readyState === 0) throw new DOMException("the connection is not open yet", "InvalidStateError");
    if (typeof Blob !== "undefined" && data instanceof Blob) {
      this.#queue(data.size, () => data.arrayBuffer());
    } else if (typeof data === "string") {
      const octets = new TextEncoder().encode(data);
      this.#queue(octets.byteLength, () => octets);
    } else {
      // The caller may use its buffer again.
      const octets = octetsOf(data).slice();
      this.#queue(octets.byteLength, () => octets);
    }
  }

  close(code?: number, _reason?: string): void {
    if (code !== undefined && code !== NORMAL && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("the code is 1000, or 3000 to 4999", "InvalidAccessError");
    }
    if (this.#readyState >= 2) return;
    const opening = this.#readyState === 0;
    this.#readyState = 2;
    if (opening) return this.#fail(undefined);
    this.#finish().catch((error: unknown) => this.#fail(error));
  }

  /** @internal */
  handler(name: string): Handler {
    return this.#handlers.get(name) ?? null;
  }

  /** @internal */
  setHandler(name: string, handler: unknown): void {
    const before = this.#handlers.get(name);
    if (before) this.removeEventListener(name, before);
    const after = typeof handler === "function" ? (event: Event) => void handler.call(this, event) : null;
    this.#handlers.set(name, after);
    if (after) this.addEventListener(name, after);
  }

  async #run(): Promise<void> {
    await this.#transport.opened;
    if (this.#readyState !== 0) return;
    this.#readyState = 1;
    this.dispatchEvent(new Event("open"));
    for await (const chunk of chunks(this.#transport.readable)) {
      if (this.#readyState >= 2) continue;
      const octets = chunk.slice().buffer;
      const data = this.binaryType === "blob" ? new Blob([octets]) : octets;
      this.dispatchEvent(new MessageEvent("message", { data }));
    }
    // SOCKFS knows no half-closed connection: the end of one direction is the end of both.
    if (this.#readyState < 2) this.#readyState = 2;
    await this.#finish();
  }

  #queue(length: number, load: () => BufferSource | Promise<ArrayBuffer>): void {
    this.#bufferedAmount += length;
    // What is sent after the end is counted and dropped, as the platform does.
    if (this.#readyState !== 1) return;
    if (this.#bufferedAmount > MAX_BUFFERED) return this.#fail(new Error("too much waits to be sent"));
    this.#sent = this.#sent
      .then(async () => {
        await this.#writer.write(await load());
        this.#bufferedAmount -= length;
      })
      .catch((error: unknown) => this.#fail(error));
  }

  /** Sends what was accepted, then ends the connection. */
  async #finish(): Promise<void> {
    await this.#sent;
    await this.#writer.close().catch(() => {});
    await this.#transport.close().catch(() => {});
    this.#end(NORMAL);
  }

  #fail(error: unknown): void {
    if (this.#readyState === 3) return;
    this.#readyState = 3;
    this.#transport.close().catch(() => {});
    const code = errorCode(error);
    this.dispatchEvent(Object.assign(new Event("error"), { error, code }));
    this.#close(ABNORMAL, error instanceof Error ? error.message : "");
  }

  #end(code: number): void {
    if (this.#readyState === 3) return;
    this.#readyState = 3;
    this.#close(code, "");
  }

  #close(code: number, reason: string): void {
    const detail = { code, reason, wasClean: code === NORMAL };
    const event = typeof CloseEvent === "undefined" ? Object.assign(new Event("close"), detail) : new CloseEvent("close", detail);
    this.dispatchEvent(event);
  }
}

async function* chunks(readable: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = readable.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield value;
  }
}

for (const name of EVENTS) {
  Object.defineProperty(TcpWebSocket.prototype, `on${name}`, {
    get(this: TcpWebSocket) {
      return this.handler(name);
    },
    set(this: TcpWebSocket, handler: unknown) {
      this.setHandler(name, handler);
    },
    configurable: true,
    enumerable: true,
  });
}

/** Makes the class whose connections go through `net`. */
export function webSocketClass(net: WebSocketNetwork): WebSocketClass {
  class TunnelWebSocket extends TcpWebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(net, url, protocols);
    }
  }
  Object.defineProperty(TunnelWebSocket, "name", { value: "WebSocket" });
  return TunnelWebSocket as unknown as WebSocketClass;
}

/**
 * Puts the class where programs look for it. Tunnels of this package go on with the platform's own.
 *
 * @param target - `globalThis`, as a rule
 * @returns a function that puts back what was there before
 */
export function installWebSocket(net: WebSocketNetwork, target: object = globalThis): () => void {
  const before = Object.getOwnPropertyDescriptor(target, "WebSocket");
  Object.defineProperty(target, "WebSocket", { value: webSocketClass(net), configurable: true, writable: true });
  return () => {
    if (before === undefined) Reflect.deleteProperty(target, "WebSocket");
    else Object.defineProperty(target, "WebSocket", before);
  };
}
