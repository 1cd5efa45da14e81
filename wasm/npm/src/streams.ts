/**
 * The streams of a TCP connection: a byte stream that takes from the engine only what is read, and a sink that gives the
 * engine only what it can keep. Both count octets, so memory stays bounded whichever side is slow.
 */
import { failure, toException } from "./errors.js";
import type { Link } from "./link/link.js";
import { SendWindow } from "./send-window.js";

/**
 * Octets that the engine may deliver ahead of the reader; the rest waits in the TCP window. A few of the longest messages,
 * so that one can be on its way while another is read and a third comes in.
 */
export const RECEIVE_WINDOW = 1024 * 1024;

/** The largest piece that crosses to the engine at once. */
const PIECE = 256 * 1024;

/** The octets of a `BufferSource`; a `TypeError` for anything else. */
export function octetsOf(chunk: unknown): Uint8Array {
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (isBuffer(chunk)) return new Uint8Array(chunk);
  throw new TypeError("the chunk is not an ArrayBuffer, typed array or DataView");
}

/** Of whatever frame: its buffers are no instances of this page's ArrayBuffer. */
function isBuffer(chunk: unknown): chunk is ArrayBufferLike {
  return /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(chunk));
}

/** A copy that may be transferred away. */
export function copyOf(octets: Uint8Array): ArrayBuffer {
  const copy = new Uint8Array(octets.byteLength);
  copy.set(octets);
  return copy.buffer;
}

/** The receiving half of a connection. */
export class ByteReceiver {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #link: Link;
  readonly #handle: number;
  #controller!: ReadableByteStreamController;
  #queue: Uint8Array<ArrayBuffer>[] = [];
  #consumed = 0;
  #wanted: (() => void) | undefined;
  #ending: { error?: unknown } | undefined;
  #ended = false;

  constructor(link: Link, handle: number) {
    this.#link = link;
    this.#handle = handle;
    this.readable = new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: () => this.#cancel(),
    });
  }

  /** Data from the engine, within the credit it was given. */
  push(data: Uint8Array<ArrayBuffer>): void {
    if (this.#ended) return;
    this.#queue.push(data);
    this.#deliver();
  }

  /** Nothing follows what was pushed; with `error`, because the connection broke. */
  end(error?: unknown): void {
    if (this.#ended || this.#ending !== undefined) return;
    this.#ending = error === undefined ? {} : { error };
    this.#deliver();
  }

  #pull(): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = resolve;
      this.#deliver();
    });
  }

  #cancel(): void {
    this.#queue = [];
    this.#link.post({ op: "discard", handle: this.#handle });
    this.#ended = true;
  }

  #deliver(): void {
    const chunk = this.#queue[0];
    if (chunk !== undefined && this.#wanted !== undefined) {
      this.#consume(this.#hand(chunk));
      this.#release();
    } else if (chunk === undefined && this.#ending !== undefined && !this.#ended) {
      this.#finish(this.#ending);
    }
  }

  /** Hands over the first chunk, or as much of it as the reader's own buffer takes; returns the octets handed over. */
  #hand(chunk: Uint8Array<ArrayBuffer>): number {
    const request = this.#controller.byobRequest;
    const view = request?.view;
    if (!request || !view) {
      this.#queue.shift();
      const length = chunk.byteLength;
      this.#controller.enqueue(chunk);
      return length;
    }
    const length = Math.min(view.byteLength, chunk.byteLength);
    new Uint8Array(view.buffer, view.byteOffset, length).set(chunk.subarray(0, length));
    if (length === chunk.byteLength) this.#queue.shift();
    else this.#queue[0] = chunk.subarray(length);
    request.respond(length);
    return length;
  }

  /** Gives credit back in large steps: the rest of the window lasts meanwhile, and small reads cost no message each. */
  #consume(octets: number): void {
    this.#consumed += octets;
    if (this.#consumed < RECEIVE_WINDOW / 4) return;
    this.#link.post({ op: "credit", handle: this.#handle, amount: this.#consumed });
    this.#consumed = 0;
  }

  #finish({ error }: { error?: unknown }): void {
    if (error !== undefined) {
      this.#controller.error(error);
    } else {
      this.#controller.close();
      this.#controller.byobRequest?.respond(0);
    }
    this.#ended = true;
    this.#release();
  }

  #release(): void {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    wanted?.();
  }
}

/** The sending half of a connection. */
export class ByteSender {
  readonly writable: WritableStream<BufferSource>;
  readonly #link: Link;
  readonly #handle: number;
  #controller!: WritableStreamDefaultController;
  #window = new SendWindow(() => this.#ended || this.#controller.signal.aborted);
  #ended = false;

  constructor(link: Link, handle: number) {
    this.#link = link;
    this.#handle = handle;
    this.writable = new WritableStream<BufferSource>({
      start: (controller) => {
        this.#controller = controller;
        controller.signal.addEventListener("abort", () => this.#window.release());
      },
      write: (chunk) => this.#write(octetsOf(chunk)),
      close: () => this.#close(),
      abort: () => this.#shutdown(),
    });
  }

  /** The stack has taken `octets` more. */
  sent(octets: number): void {
    this.#window.sent(octets);
  }

  /** The connection broke: writes fail from now on. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#controller.error(error);
    this.#window.release();
  }

  /** Ends the stream as if its owner had closed it, once what was written before is sent. */
  finish(): void {
    if (this.#ended) return;
    this.#shutdown();
    this.#controller.error(toException(failure("EPIPE")));
  }

  async #write(octets: Uint8Array): Promise<void> {
    for (let at = 0; at < octets.byteLength; at += PIECE) {
      const piece = octets.subarray(at, at + PIECE);
      // What waits is a copy; where none is needed, it is no more than the rest of a piece.
      if (this.#link.takesOffers && !(await this.#window.empty())) return;
      const rest = piece.subarray(this.#link.offer(this.#handle, piece));
      if (rest.byteLength === 0) continue;
      if (!(await this.#window.take(rest.byteLength))) return;
      const data = copyOf(rest);
      this.#link.post({ op: "send", handle: this.#handle, data }, data);
    }
  }

  async #close(): Promise<void> {
    if (await this.#window.empty()) this.#shutdown();
  }

  #shutdown(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#link.post({ op: "shutdown", handle: this.#handle });
  }
}
