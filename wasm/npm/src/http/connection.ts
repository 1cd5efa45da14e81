/** An HTTP connection over a socket of the tunnel: moves octets between the socket's streams and the wire. */
import { failure, toException } from "../errors.js";
import type { Socket } from "../wintertc.js";
import type { HttpEngine, Wire } from "./engine.js";
import { Exchange, type Carrier, type Incoming, type Outgoing } from "./exchange.js";

/** Requests that one HTTP/2 connection carries at a time. */
const MAX_STREAMS = 100;

export class Connection implements Carrier {
  readonly wire: Wire;
  readonly http2: boolean;
  readonly #socket: Socket;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<BufferSource>;
  readonly #exchanges = new Map<number, Exchange>();
  #turning = false;
  #sending = false;
  #readable: (() => void) | undefined;
  #cause: unknown;
  #gone = false;
  #served = 0;

  /** Called when a request can be made that could not before, and when the connection is of no use any more. */
  onchange: () => void = () => {};

  constructor(engine: HttpEngine, socket: Socket, http2: boolean) {
    this.http2 = http2;
    this.wire = engine.open(http2);
    this.#socket = socket;
    this.#reader = socket.readable.getReader();
    this.#writer = socket.writable.getWriter();
    socket.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
    void this.#read();
    this.turn();
  }

  /** Whether another request can be made. */
  get free(): boolean {
    return !this.#gone && this.wire.ready && this.#exchanges.size < (this.http2 ? MAX_STREAMS : 1);
  }

  /** Whether it is of no use any more. */
  get closed(): boolean {
    return this.#gone || this.wire.closed;
  }

  get idle(): boolean {
    return this.#exchanges.size === 0;
  }

  /** Whether it has carried a request before. */
  get used(): boolean {
    return this.#served > 0;
  }

  get cause(): unknown {
    return this.#cause;
  }

  /** @throws Error where the request cannot be put into words of HTTP */
  send(request: Outgoing): Promise<Incoming> {
    const exchange = new Exchange(this, request);
    this.#served += 1;
    this.#exchanges.set(exchange.id, exchange);
    this.turn();
    return exchange.response;
  }

  over(id: number): void {
    this.#exchanges.delete(id);
    // Its own events may still be in the middle of their turn.
    queueMicrotask(() => {
      if (this.closed) this.close();
      this.onchange();
    });
  }

  /** Ends it, with whatever is under way. */
  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    const error = this.#cause ?? toException(failure("ECONNABORTED"));
    for (const exchange of [...this.#exchanges.values()]) exchange.abandon(error);
    this.#socket.close().catch(() => {});
    this.wire.free();
    this.onchange();
  }

  turn(): void {
    if (this.#turning || this.#gone) return;
    this.#turning = true;
    void this.#send();
    for (let event = this.wire.event(); event !== undefined; event = this.wire.event()) {
      this.#exchanges.get(event.id)?.handleEvent(event.kind);
    }
    this.#turning = false;
    void this.#send();
    if (this.wire.wantsData) this.#readable?.();
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { value, done } = await this.#reader.read();
        if (this.#gone) return;
        if (done) break;
        this.wire.receive(value);
        this.turn();
        if (this.#gone) return;
        if (!this.wire.wantsData) await new Promise<void>((resolve) => (this.#readable = resolve));
      }
    } catch (error) {
      this.#cause = error;
    }
    this.#ended();
  }

  /** The server has ended the connection, or it broke. */
  #ended(): void {
    if (this.#gone) return;
    this.wire.end();
    this.turn();
    if (this.idle) this.close();
    else this.onchange();
  }

  /** Sends while the socket takes more: what it does not take stays in the wire, which is bounded. */
  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let octets = this.wire.outgoing(); octets !== undefined; octets = this.wire.outgoing()) {
        this.#writer.write(octets).then(() => this.wire.sent(octets), () => {});
        if ((this.#writer.desiredSize ?? 0) <= 0) await this.#writer.ready;
        if (this.#gone) return;
      }
    } catch (error) {
      // The reader hears of it, too, and after whatever answer the server has still sent.
      this.#cause ??= error;
    } finally {
      this.#sending = false;
    }
    // Room for more of a request's body.
    if (!this.#turning && !this.#gone) this.#events();
  }

  #events(): void {
    const event = this.wire.event();
    if (event === undefined) return;
    this.#exchanges.get(event.id)?.handleEvent(event.kind);
    this.turn();
  }
}
