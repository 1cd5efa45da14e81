/** One request and its response on a connection. */
import { Deferred } from "../deferred.js";
import { toException } from "../errors.js";
import { octetsOf } from "../streams.js";
import { WireEvent, type Wire, type WireHead, type WireRequest } from "./engine.js";

/** Octets that a response may be ahead of its reader in the page. */
const READ_AHEAD = 1024 * 1024;
/** Octets of a response that may come before anybody reads it, so that a short one is whole when its head is handed over. */
const EARLY = 64 * 1024;
/** Octets of a request's body that cross at once. */
const PIECE = 256 * 1024;

/** A request with its body. */
export interface Outgoing extends WireRequest {
  readonly body: ReadableStream<Uint8Array> | undefined;
  readonly signal: AbortSignal;
  readonly onupload: (octets: number) => void;
}

/** A response whose body is still on its way, or has come with the head. */
export interface Incoming extends WireHead {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>> | Uint8Array<ArrayBuffer>;
}

/** What a connection gives its exchanges. */
export interface Carrier {
  readonly wire: Wire;
  /** Sends what there is to send, after each call of the wire. */
  turn(): void;
  /** The exchange is over. */
  over(id: number): void;
  /** Why the transport ended, where it did. */
  readonly cause: unknown;
}

/** Follows one exchange. */
export class Exchange {
  readonly #carrier: Carrier;
  readonly #request: Outgoing;
  readonly #id: number;
  readonly #response = new Deferred<Incoming>();
  readonly #abort = (): void => this.#fail(this.#request.signal.reason);
  /** The head, until it is handed over. */
  #head: WireHead | undefined;
  /** What has come of the body by then. */
  #early: Uint8Array<ArrayBuffer>[] = [];
  #whole = false;
  #controller: ReadableByteStreamController | undefined;
  #pulled: (() => void) | undefined;
  #source: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #rest: Uint8Array | undefined;
  /** Octets that the wire may still deliver. */
  #credit = EARLY;
  #delivered = false;
  #over = false;

  /** @throws Error where the request cannot be put into words of HTTP */
  constructor(carrier: Carrier, request: Outgoing) {
    this.#carrier = carrier;
    this.#request = request;
    this.#id = carrier.wire.request(request);
    this.#source = request.body?.getReader();
    carrier.wire.want(this.#id, EARLY);
    request.signal.addEventListener("abort", this.#abort, { once: true });
  }

  get id(): number {
    return this.#id;
  }

  /** Resolves with the head; its body follows. */
  get response(): Promise<Incoming> {
    return this.#response.promise;
  }

  handleEvent(kind: WireEvent): void {
    const { wire } = this.#carrier;
    switch (kind) {
      case WireEvent.Head:
        this.#head = wire.head(this.#id);
        // By then what came in the same message has been dealt with.
        return queueMicrotask(() => this.#respond());
      case WireEvent.Data:
        return this.#deliver();
      case WireEvent.End:
        this.#deliver();
        return this.#finish();
      case WireEvent.Failed:
        this.#deliver();
        return this.#fail(this.#carrier.cause ?? toException(wire.failure(this.#id), this.#request.url));
      case WireEvent.Wanted:
        void this.#feed();
    }
  }

  /** The connection is gone. */
  abandon(error: unknown): void {
    this.#fail(error);
  }

  /** Hands the response over. */
  #respond(): void {
    const head = this.#head;
    if (head === undefined) return;
    this.#head = undefined;
    this.#response.resolve({ ...head, body: this.#whole ? joined(this.#early) : this.#open() });
  }

  /** The body as a stream that begins with what is there. */
  #open(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#controller = controller;
        for (const chunk of this.#early) controller.enqueue(chunk);
        this.#early = [];
      },
      pull: () => this.#pull(),
      cancel: () => this.#end(),
    });
  }

  #pull(): Promise<void> {
    this.#delivered = false;
    if (this.#credit < READ_AHEAD) {
      this.#carrier.wire.want(this.#id, READ_AHEAD - this.#credit);
      this.#credit = READ_AHEAD;
    }
    this.#carrier.turn();
    if (this.#over || this.#delivered) return Promise.resolve();
    return new Promise((resolve) => {
      this.#pulled = resolve;
    });
  }

  #deliver(): void {
    if (this.#over) return;
    for (let chunk = this.#carrier.wire.chunk(this.#id); chunk !== undefined; ) {
      this.#credit -= chunk.byteLength;
      this.#delivered = true;
      if (this.#controller === undefined) this.#early.push(chunk);
      else this.#controller.enqueue(chunk);
      chunk = this.#carrier.wire.chunk(this.#id);
    }
    this.#pulled?.();
    this.#pulled = undefined;
  }

  /** Gives the wire the next piece of the request's body. */
  async #feed(): Promise<void> {
    const { wire } = this.#carrier;
    try {
      while (this.#rest === undefined || this.#rest.byteLength === 0) {
        const { value, done } = (await this.#source?.read()) ?? { value: undefined, done: true };
        if (this.#over) return;
        if (done) {
          wire.finishBody(this.#id);
          return this.#carrier.turn();
        }
        this.#rest = octetsOf(value);
      }
    } catch (error) {
      if (!this.#over) this.#fail(error);
      return;
    }
    const piece = this.#rest.subarray(0, PIECE);
    this.#rest = this.#rest.subarray(piece.byteLength);
    wire.sendBody(this.#id, piece);
    this.#request.onupload(piece.byteLength);
    this.#carrier.turn();
  }

  #finish(): void {
    if (this.#over) return;
    this.#whole = true;
    this.#controller?.close();
    this.#controller?.byobRequest?.respond(0);
    this.#end();
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#respond();
    this.#controller?.error(error);
    this.#response.reject(error);
    this.#end();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#request.signal.removeEventListener("abort", this.#abort);
    this.#pulled?.();
    this.#source?.cancel().catch(() => {});
    this.#carrier.wire.forget(this.#id);
    this.#carrier.over(this.#id);
  }
}

/** One piece mostly, which is not copied. */
function joined(pieces: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const [first = new Uint8Array(), ...more] = pieces;
  if (more.length === 0) return first;
  const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.byteLength;
  }
  return all;
}
