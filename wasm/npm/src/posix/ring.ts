/** A ring of octets in shared memory, with one writer and one reader. */
import { HEADER_SIZE, RX_AT, TX_AT, TX_SIZE, Word, type SharedMemory } from "./layout.js";

export class Ring {
  readonly #words: Int32Array;
  readonly #octets: Uint8Array;
  readonly #head: number;
  readonly #tail: number;

  constructor(words: Int32Array, octets: Uint8Array, head: number, tail: number) {
    this.#words = words;
    this.#octets = octets;
    this.#head = head;
    this.#tail = tail;
  }

  /** Octets that it can hold. */
  get size(): number {
    return this.#octets.length;
  }

  /** Octets that can be read; the counters are the other side's to a part, so the difference is held to the size. */
  get readable(): number {
    const used = (Atomics.load(this.#words, this.#head) - Atomics.load(this.#words, this.#tail)) >>> 0;
    return Math.min(used, this.#octets.length);
  }

  /** Octets that can be written. */
  get writable(): number {
    return this.#octets.length - this.readable;
  }

  /** Writes what fits; returns how much that was. */
  write(data: Uint8Array): number {
    const length = Math.min(data.length, this.writable);
    this.#put(0, data.subarray(0, length));
    this.#commit(length);
    return length;
  }

  /** Writes `parts` one after the other and shows them at once; the caller has looked whether they fit. */
  writeAll(parts: readonly Uint8Array[]): void {
    let at = 0;
    for (const part of parts) {
      this.#put(at, part);
      at += part.length;
    }
    this.#commit(at);
  }

  /** Copies what is `offset` octets behind the tail, and leaves it there; returns how much that was. */
  peek(into: Uint8Array, offset = 0): number {
    const length = Math.min(into.length, Math.max(0, this.readable - offset));
    const at = this.#index(this.#tail, offset);
    const first = Math.min(length, this.#octets.length - at);
    into.set(this.#octets.subarray(at, at + first));
    into.set(this.#octets.subarray(0, length - first), first);
    return length;
  }

  /** As {@link peek}, and takes it out. */
  read(into: Uint8Array): number {
    const length = this.peek(into);
    this.skip(length);
    return length;
  }

  /** What can be read in one piece. */
  span(): Uint8Array {
    const at = this.#index(this.#tail, 0);
    return this.#octets.subarray(at, Math.min(at + this.readable, this.#octets.length));
  }

  /** Takes `length` octets out. */
  skip(length: number): void {
    if (length > 0) Atomics.add(this.#words, this.#tail, length);
  }

  #commit(length: number): void {
    if (length > 0) Atomics.add(this.#words, this.#head, length);
  }

  #put(offset: number, data: Uint8Array): void {
    const at = this.#index(this.#head, offset);
    const first = Math.min(data.length, this.#octets.length - at);
    this.#octets.set(data.subarray(0, first), at);
    this.#octets.set(data.subarray(first), 0);
  }

  #index(counter: number, offset: number): number {
    return (Atomics.load(this.#words, counter) + offset) & (this.#octets.length - 1);
  }
}

/** The memory of one socket, as both sides see it. */
export class Shared {
  readonly memory: SharedMemory;
  readonly words: Int32Array;
  readonly rx: Ring;
  readonly tx: Ring;

  constructor(memory: SharedMemory) {
    this.memory = memory;
    this.words = new Int32Array(memory, 0, HEADER_SIZE / 4);
    this.rx = new Ring(this.words, new Uint8Array(memory, RX_AT), Word.RxHead, Word.RxTail);
    this.tx = new Ring(this.words, new Uint8Array(memory, TX_AT, TX_SIZE), Word.TxHead, Word.TxTail);
  }

  get(word: number): number {
    return Atomics.load(this.words, word);
  }

  set(word: number, value: number): void {
    Atomics.store(this.words, word, value);
  }
}
