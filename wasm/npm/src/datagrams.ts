/** The streams of a UDP socket. */
import type { Endpoint } from "./address.js";
import { messageTarget } from "./direct-sockets/options.js";
import type { UDPMessage } from "./direct-sockets/types.js";
import { failure, toException } from "./errors.js";
import type { Link } from "./link/link.js";
import { datagramCost } from "./link/protocol.js";
import { SendWindow } from "./send-window.js";
import { copyOf, octetsOf } from "./streams.js";

/** What the engine may deliver ahead of the reader; the rest waits in the stack's buffer, which drops when full. */
export const DATAGRAM_WINDOW = 256 * 1024;

/** The longest UDP payload (over IPv4; over IPv6 the stack refuses the last 20 octets). */
const MAX_DATAGRAM = 65_507;

/** A datagram as a reader gets it. */
export type ReceivedMessage = UDPMessage<Uint8Array<ArrayBuffer>>;

export class DatagramReceiver {
  readonly readable: ReadableStream<ReceivedMessage>;
  readonly #link: Link;
  readonly #handle: number;
  #controller!: ReadableStreamDefaultController<ReceivedMessage>;
  #queue: ReceivedMessage[] = [];
  #wanted: (() => void) | undefined;
  #consumed = 0;
  #ended = false;

  constructor(link: Link, handle: number) {
    this.#link = link;
    this.#handle = handle;
    this.readable = new ReadableStream<ReceivedMessage>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () =>
          new Promise((resolve) => {
            this.#wanted = resolve;
            this.#deliver();
          }),
        cancel: () => this.#cancel(),
      },
      { highWaterMark: 0 },
    );
  }

  /** A datagram from the engine; `from` is left out in a connected socket. */
  push(data: Uint8Array<ArrayBuffer>, from: Endpoint | undefined): void {
    if (this.#ended) return;
    const source = from && { remoteAddress: from.address, remotePort: from.port };
    this.#queue.push({ data, ...source });
    this.#deliver();
  }

  /** Nothing follows; with `error`, because the socket failed. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    if (error !== undefined) this.#controller.error(error);
    else this.#controller.close();
    this.#release();
  }

  #cancel(): void {
    this.#ended = true;
    this.#queue = [];
    this.#link.post({ op: "discard", handle: this.#handle });
    this.#release();
  }

  #deliver(): void {
    if (this.#wanted === undefined) return;
    const message = this.#queue.shift();
    if (message === undefined) return;
    this.#controller.enqueue(message);
    this.#consumed += datagramCost(message.data.byteLength);
    if (this.#consumed >= DATAGRAM_WINDOW / 4 || this.#queue.length === 0) {
      this.#link.post({ op: "credit", handle: this.#handle, amount: this.#consumed });
      this.#consumed = 0;
    }
    this.#release();
  }

  #release(): void {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    wanted?.();
  }
}

export class DatagramSender {
  readonly writable: WritableStream<UDPMessage>;
  readonly #link: Link;
  readonly #handle: number;
  readonly #connected: boolean;
  #controller!: WritableStreamDefaultController;
  #window = new SendWindow(() => this.#ended || this.#controller.signal.aborted);
  #ended = false;

  constructor(link: Link, handle: number, connected: boolean) {
    this.#link = link;
    this.#handle = handle;
    this.#connected = connected;
    this.writable = new WritableStream<UDPMessage>({
      start: (controller) => {
        this.#controller = controller;
        controller.signal.addEventListener("abort", () => this.#window.release());
      },
      write: (message) => this.#write(message),
      close: () => this.#shutdown(),
      abort: () => this.#shutdown(),
    });
  }

  /** The stack has taken datagrams of this {@link datagramCost}. */
  sent(cost: number): void {
    this.#window.sent(cost);
  }

  /** Writes fail from now on. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#controller.error(error);
    this.#window.release();
  }

  async #write(message: UDPMessage): Promise<void> {
    if (typeof message !== "object" || message === null) throw new TypeError("the chunk is not a UDPMessage");
    const octets = octetsOf(message.data);
    const target = messageTarget(message, this.#connected);
    if (octets.byteLength > MAX_DATAGRAM) throw toException(failure("EMSGSIZE"), `send ${octets.byteLength} octets`);
    const data = copyOf(octets);
    if (!(await this.#window.take(datagramCost(data.byteLength)))) return;
    this.#link.post({ op: "send", handle: this.#handle, data, ...target }, data);
  }

  #shutdown(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#link.post({ op: "shutdown", handle: this.#handle });
  }
}
