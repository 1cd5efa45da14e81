/** The WebSocket, and nothing above it. */
import { failure, type Failure } from "../errors.js";

/** The subprotocol of the tunnel. */
export const SUBPROTOCOL = "webtun.v1";

/** The longest message that either side may send, in octets. */
export const MAX_MESSAGE_LENGTH = 1 << 20;

/**
 * Octets waiting in the browser above which nothing more is handed to it: what keeps its threads busy where no line is
 * slower than they are. What else is sent waits behind them, and more makes an upload slower.
 */
const HIGH_WATER = 500_000;

/** Milliseconds after which an attempt to connect counts as failed. */
const OPEN_TIMEOUT = 15_000;

/** The part of the WebSocket interface that is used; browsers and the package `ws` both have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly protocol: string;
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: ArrayBufferView<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** Opens WebSockets and tells more about a refusal than a browser does, where it can. */
export interface WebSocketFactory {
  (url: string, protocols: string[], onrefused: (cause: Failure) => void): WebSocketLike;
}

export interface TransportHandlers {
  onopen(): void;
  onmessage(data: ArrayBuffer): void;
  /** Once, also where it never opened. */
  onclose(cause: Failure): void;
}

const OPEN = 1;

export class Transport {
  readonly #socket: WebSocketLike;
  readonly #handlers: TransportHandlers;
  readonly #timer: ReturnType<typeof setTimeout>;
  #opened = false;
  #cause: Failure | undefined;
  #over = false;

  constructor(factory: WebSocketFactory, url: string, protocols: string[], handlers: TransportHandlers) {
    this.#handlers = handlers;
    const socket = factory(url, protocols, (cause) => {
      this.#cause ??= cause;
    });
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#open();
    socket.onmessage = ({ data }: { data: unknown }) => this.#message(data);
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#finish(this.#describe(code, reason));
    this.#timer = setTimeout(() => this.#abandon(failure("ETIMEDOUT", "the gateway did not answer in time")), OPEN_TIMEOUT);
  }

  /** True while another message may be sent. */
  get writable(): boolean {
    return this.open && this.#socket.bufferedAmount < HIGH_WATER;
  }

  /** True while the WebSocket is open, whether or not it takes more. */
  get open(): boolean {
    return this.#opened && this.#socket.readyState === OPEN;
  }

  send(message: Uint8Array<ArrayBuffer>): void {
    this.#socket.send(message);
  }

  /** Closes without a word to the handlers. */
  close(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket.close(1000);
  }

  #open(): void {
    clearTimeout(this.#timer);
    if (this.#over) return this.#socket.close(1000);
    if (this.#socket.protocol !== SUBPROTOCOL) {
      return this.#abandon(failure("EPROTO", "the server does not speak webtun.v1"));
    }
    this.#opened = true;
    this.#handlers.onopen();
  }

  #message(data: unknown): void {
    if (this.#over) return;
    if (!(data instanceof ArrayBuffer)) return this.#abandon(failure("EPROTO", "the gateway sent a text message"));
    if (data.byteLength > MAX_MESSAGE_LENGTH) {
      return this.#abandon(failure("EPROTO", "the gateway sent a huge message"));
    }
    this.#handlers.onmessage(data);
  }

  #describe(code: number, reason: string): Failure {
    if (this.#cause !== undefined) return this.#cause;
    if (this.#opened) return failure("ECONNRESET", `the WebSocket was closed (${code}${reason && `: ${reason}`})`);
    return failure(
      "ECONNREFUSED",
      "the gateway cannot be reached, or it refuses this page: check address, token and origins",
    );
  }

  #abandon(cause: Failure): void {
    this.#socket.close(4000, cause.message.slice(0, 100));
    this.#finish(cause);
  }

  #finish(cause: Failure): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#handlers.onclose(cause);
  }
}
