/** socketpair(): two ends in one program, with no stack between them. */
import { Errno } from "../posix/errno.js";
import { edgesOf, Refills } from "./edges.js";
import { POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SOCK_STREAM } from "./constants.js";

/** Octets that one direction holds. */
const CAPACITY = 212_992;

export class Pipe {
  readonly kind = "pipe";
  readonly type: number;
  references = 1;
  nonBlocking = false;
  other: Pipe | undefined;
  readShut = false;
  writeShut = false;
  /** What the other end has sent: messages, or pieces of a stream. */
  #received: Uint8Array[] = [];
  #length = 0;
  /** Pieces that have ever been received. */
  #arrived = 0;
  readonly #refills = new Refills();

  constructor(type: number) {
    this.type = type;
  }

  static pair(type: number): [Pipe, Pipe] {
    const ends: [Pipe, Pipe] = [new Pipe(type), new Pipe(type)];
    ends[0].other = ends[1];
    ends[1].other = ends[0];
    return ends;
  }

  get stream(): boolean {
    return this.type === SOCK_STREAM;
  }

  get readable(): number {
    return this.stream ? this.#length : (this.#received[0]?.length ?? 0);
  }

  get #ended(): boolean {
    return this.readShut || this.other === undefined || (this.stream && this.other.writeShut);
  }

  close(): void {
    if (this.other !== undefined) this.other.other = undefined;
    this.other = undefined;
    this.#received = [];
  }

  poll(): number {
    const ready = this.#received.length > 0 || this.#ended ? POLLIN : 0;
    const room = this.#room ? POLLOUT : 0;
    const gone = this.other === undefined || (this.#ended && this.writeShut) ? POLLHUP : 0;
    return ready | room | gone | (this.#ended ? POLLRDHUP : 0);
  }

  get #room(): boolean {
    return this.other === undefined || this.other.#length < CAPACITY;
  }

  /** See `Source.edges`. */
  edges(): number {
    return edgesOf(this.#arrived, this.#refills.count(this.#room), 0, [this.#ended, this.writeShut, this.other === undefined]);
  }

  /** Octets taken, or a negative errno. */
  send(data: Uint8Array): number {
    const other = this.other;
    if (other === undefined || this.writeShut || other.readShut) return -Errno.EPIPE;
    const room = CAPACITY - other.#length;
    if (!this.stream && data.length > CAPACITY) return -Errno.EMSGSIZE;
    this.#refills.full ||= data.length > room || room <= 0;
    if (room <= 0 || (!this.stream && data.length > room)) return -Errno.EAGAIN;
    const piece = data.slice(0, room);
    if (piece.length > 0 || !this.stream) {
      other.#received.push(piece);
      other.#arrived += 1;
    }
    other.#length += piece.length;
    return piece.length;
  }

  /** The length of what was received (for a message: all of it), or a negative errno. */
  receive(into: Uint8Array, peek: boolean): number {
    const first = this.#received[0];
    if (first === undefined) return this.#ended ? 0 : -Errno.EAGAIN;
    if (!this.stream) {
      into.set(first.subarray(0, into.length));
      if (!peek) this.#drop(first.length);
      return first.length;
    }
    let taken = 0;
    for (const piece of this.#received) {
      const part = piece.subarray(0, into.length - taken);
      into.set(part, taken);
      taken += part.length;
    }
    if (!peek) this.#drop(taken);
    return taken;
  }

  #drop(length: number): void {
    this.#length -= length;
    let left = length;
    while (this.#received[0] !== undefined && (left > 0 || (!this.stream && this.#received[0].length === 0))) {
      const piece = this.#received[0];
      if (left < piece.length) {
        this.#received[0] = piece.subarray(left);
        return;
      }
      this.#received.shift();
      left -= piece.length;
      if (!this.stream) return;
    }
  }
}
