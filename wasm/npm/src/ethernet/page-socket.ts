/** The page's own stack on a segment: what its tunnel takes for a WebSocket ends here. */
import { MAX_MESSAGE_LENGTH, SUBPROTOCOL, type WebSocketLike } from "../engine/transport.js";

/** Octets that wait for the gateway count as so many, so that the stack stops well before the segment drops. */
const WEIGHT = 8;

/** What the socket needs of its segment. */
export interface Place {
  send(message: Uint8Array): void;
  /** The next message for the stack. */
  poll(): ArrayBuffer | undefined;
  /** Octets that wait for the gateway. */
  waiting(): number;
  /** Has the segment look again whether there is something for us. */
  wake(): void;
  leave(): void;
}

export class PageSocket implements WebSocketLike {
  readonly protocol = SUBPROTOCOL;
  binaryType = "arraybuffer";
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly #place: Place;
  #delivering = false;

  constructor(place: Place) {
    this.#place = place;
  }

  /** Opens it, once whoever calls has begun to listen. */
  open(): this {
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen?.({} as never);
    });
    return this;
  }

  get bufferedAmount(): number {
    return WEIGHT * this.#place.waiting();
  }

  /** False while a message is on its way: the stack has a turn for each. */
  get hasRoom(): boolean {
    return !this.#delivering;
  }

  send(data: ArrayBufferView<ArrayBuffer>): void {
    if (this.readyState !== 1 || data.byteLength > MAX_MESSAGE_LENGTH) return;
    // The segment may be at work; the stack uses its memory again at once.
    this.#place.send(new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice());
  }

  close(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#place.leave();
  }

  /** Takes the next message, if there is one. The stack gets it in a turn of its own: it may be in the middle of one. */
  take(): boolean {
    const data = this.#place.poll();
    if (data === undefined) return false;
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
      if (this.readyState === 3) return;
      this.onmessage?.({ data } as never);
      this.#place.wake();
    });
    return true;
  }

  /** The segment ends: its last word is delivered. */
  end(): void {
    while (this.take());
  }
}
