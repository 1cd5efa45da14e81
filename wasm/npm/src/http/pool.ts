/** Connections to use again, by origin. */
import { failure, toException } from "../errors.js";
import type { Socket } from "../wintertc.js";
import { Connection } from "./connection.js";
import type { HttpEngine } from "./engine.js";
import type { Incoming, Outgoing } from "./exchange.js";
import type { Dial } from "./layer.js";

/** HTTP/1.1 connections to one origin, as browsers have it. */
const MAX_CONNECTIONS = 6;
/** Requests to one origin that may wait for a connection. */
const MAX_WAITING = 1000;
/** Milliseconds for which a connection is kept that nobody uses. */
const IDLE = 30_000;
const PROTOCOLS = ["h2", "http/1.1"];

interface Waiting {
  readonly request: Outgoing;
  /** Where it was served by a connection that had been used before, and that the server closed meanwhile. */
  readonly again: boolean;
  /** Listens to the request's signal while it waits. */
  readonly abort: () => void;
  resolve(response: Promise<Incoming>): void;
  reject(error: unknown): void;
}

/** The connections to one origin. */
export class Origin {
  readonly #engine: () => Promise<HttpEngine>;
  readonly #dial: () => Socket;
  readonly #connections = new Set<Connection>();
  readonly #waiting: Waiting[] = [];
  readonly #timers = new Map<Connection, ReturnType<typeof setTimeout>>();
  #opening = 0;
  /** Whether the server speaks HTTP/2; not known before the first connection. */
  #http2: boolean | undefined;

  /** @param onempty - called when nothing is open and nobody waits */
  constructor(
    engine: () => Promise<HttpEngine>,
    dial: Dial,
    url: URL,
    roots: string | undefined,
    readonly onempty: () => void,
  ) {
    const secure = url.protocol === "https:";
    const address = { hostname: url.hostname, port: Number(url.port || (secure ? 443 : 80)) };
    const options = secure ? ({ secureTransport: "on", alpn: PROTOCOLS, roots } as const) : {};
    this.#engine = engine;
    this.#dial = () => dial(address, { ...options, allowHalfOpen: true });
    // Over plain text nobody asks for HTTP/2.
    if (!secure) this.#http2 = false;
  }

  /** Sends a request on a free connection, or on a new one; waits where there are enough. */
  send(request: Outgoing, again = false): Promise<Incoming> {
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(toException(failure("EAGAIN", "too many requests wait for this server"), request.url));
    }
    return new Promise<Incoming>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(request.signal.reason);
        this.#serve();
      };
      const waiting: Waiting = { request, again, abort, resolve, reject };
      request.signal.addEventListener("abort", abort, { once: true });
      this.#waiting.push(waiting);
      this.#serve();
    });
  }

  #serve(): void {
    for (const connection of this.#connections) {
      if (connection.closed) this.#remove(connection);
      while (connection.free && this.#waiting.length > 0) this.#hand(connection);
    }
    while (this.#waiting.length > this.#opening && this.#mayOpen()) void this.#open();
    if (this.#connections.size + this.#opening + this.#waiting.length === 0) this.onempty();
  }

  #mayOpen(): boolean {
    const open = this.#connections.size + this.#opening;
    // Until the first has told what the server speaks, one is enough; of HTTP/2, one always is.
    return open < (this.#http2 === false ? MAX_CONNECTIONS : 1);
  }

  #next(): Waiting | undefined {
    const waiting = this.#waiting.shift();
    waiting?.request.signal.removeEventListener("abort", waiting.abort);
    return waiting;
  }

  #hand(connection: Connection): void {
    const waiting = this.#next();
    if (waiting === undefined) return;
    clearTimeout(this.#timers.get(connection));
    const { request } = waiting;
    const repeatable = connection.used && !waiting.again && request.body === undefined;
    try {
      const response = connection.send(request);
      waiting.resolve(
        response.catch((error: unknown) => {
          // The server may close a connection just when it is used again (RFC 9110 section 9.2.2).
          if (!repeatable || request.signal.aborted || !idempotent(request.method)) throw error;
          return this.send(request, true);
        }),
      );
    } catch (error) {
      waiting.reject(new TypeError(error instanceof Error ? error.message : String(error)));
    }
  }

  async #open(): Promise<void> {
    this.#opening += 1;
    let socket: Socket | undefined;
    try {
      socket = this.#dial();
      const [engine, { alpn }] = await Promise.all([this.#engine(), socket.opened]);
      this.#http2 = alpn === "h2";
      this.#add(new Connection(engine, socket, this.#http2));
    } catch (error) {
      socket?.close().catch(() => {});
      // The next one that waits may try again.
      this.#next()?.reject(error);
    }
    this.#opening -= 1;
    this.#serve();
  }

  #add(connection: Connection): void {
    this.#connections.add(connection);
    connection.onchange = () => {
      if (connection.closed) this.#remove(connection);
      else if (connection.idle) this.#expire(connection);
      this.#serve();
    };
    this.#expire(connection);
  }

  #expire(connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    const timer = setTimeout(() => connection.idle && connection.close(), IDLE);
    // In Node a timer would keep the program alive.
    (timer as { unref?: () => void }).unref?.();
    this.#timers.set(connection, timer);
  }

  #remove(connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    this.#timers.delete(connection);
    this.#connections.delete(connection);
    if (connection.idle) connection.close();
  }
}

function idempotent(method: string): boolean {
  return ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].includes(method);
}

/** Origins by their name and the roots that are trusted for them. */
export class Pool {
  readonly #engine: () => Promise<HttpEngine>;
  readonly #dial: Dial;
  readonly #origins = new Map<string, Origin>();

  constructor(engine: () => Promise<HttpEngine>, dial: Dial) {
    this.#engine = engine;
    this.#dial = dial;
  }

  /** @param url - that of the request, taken apart */
  send(url: URL, request: Outgoing, roots: string | undefined): Promise<Incoming> {
    const key = `${url.origin}\n${roots ?? ""}`;
    let origin = this.#origins.get(key);
    if (origin === undefined) {
      origin = new Origin(this.#engine, this.#dial, url, roots, () => this.#origins.delete(key));
      this.#origins.set(key, origin);
    }
    return origin.send(request);
  }
}
