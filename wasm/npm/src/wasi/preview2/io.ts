/**
 * wasi:io: pollables and streams. Streams and pollables of a shim (of files, say) go with ours: what a resource is follows
 * from its methods.
 */
import type { Channel } from "../../emscripten/control.js";

/** What a resource calls when it is dropped, under the name that jco looks for. */
export const dispose: unique symbol = ((Symbol as { dispose?: symbol }).dispose ?? Symbol.for("dispose")) as never;

/** Milliseconds after which a pollable of a shim is looked at again: nothing tells when it changes. */
const FOREIGN_INTERVAL = 10;

/** The most that one read gives. */
const MAX_READ = 1 << 20;

/** What blocking-write-and-flush may be given. */
const MAX_BLOCKING_WRITE = 4096;

function has(value: unknown, ...methods: string[]): boolean {
  return methods.every((name) => typeof (value as Record<string, unknown> | undefined)?.[name] === "function");
}

export class Pollable {
  readonly #channel: Channel;
  readonly #look: () => boolean;
  readonly #due: number;

  /** @param due - milliseconds of `performance.now()` at which it is ready in any case */
  constructor(channel: Channel, look: () => boolean, due = Infinity) {
    this.#channel = channel;
    this.#look = look;
    this.#due = due;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return has(value, "ready", "block");
  }

  /** Until when nothing happens to it that the channel would not tell. */
  static dueOf(value: Pollable): number {
    return #due in value ? value.#due : performance.now() + FOREIGN_INTERVAL;
  }

  ready(): boolean {
    return performance.now() >= this.#due || this.#look();
  }

  block(): void {
    poll(this.#channel, [this]);
  }
}

/** Waits until one of them is ready; the indexes of those that are. */
export function poll(channel: Channel, pollables: readonly Pollable[]): Uint32Array {
  if (pollables.length === 0) throw new Error("webtun: poll() was given nothing to wait for");
  const look = (): Uint32Array | undefined => {
    const ready = [...pollables.keys()].filter((index) => pollables[index]?.ready() === true);
    return ready.length === 0 ? undefined : Uint32Array.from(ready);
  };
  for (;;) {
    const first = Math.min(...pollables.map(Pollable.dueOf));
    // Clocks of browsers are coarse, so that a wait may end a little before its time.
    const ready = channel.wait(Math.max(0.1, first - performance.now()), look);
    if (ready !== undefined) return ready;
  }
}

/** The `error` of wasi:io. */
export class IoError extends Error {
  /** An error-code of wasi:sockets. */
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return has(value, "toDebugString");
  }

  toDebugString(): string {
    return this.message;
  }
}

/** Throws a stream-error: the end of the stream, or a failure. */
export function streamFails(code: string | undefined): never {
  throw code === undefined ? { tag: "closed" } : { tag: "last-operation-failed", val: new IoError(code) };
}

/** Where an input stream has its octets from. */
export interface Source {
  /** At most so many octets, none where there are none yet; throws a stream-error. */
  read(length: number): Uint8Array;
  ready(): boolean;
}

export class InputStream {
  readonly #channel: Channel;
  readonly #source: Source;

  constructor(channel: Channel, source: Source) {
    this.#channel = channel;
    this.#source = source;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return has(value, "read", "blockingRead");
  }

  read(length: bigint): Uint8Array {
    return this.#source.read(length > MAX_READ ? MAX_READ : Number(length));
  }

  blockingRead(length: bigint): Uint8Array {
    for (;;) {
      const octets = this.read(length);
      if (octets.length > 0 || length === 0n) return octets;
      this.subscribe().block();
    }
  }

  skip(length: bigint): bigint {
    return BigInt(this.read(length).length);
  }

  blockingSkip(length: bigint): bigint {
    return BigInt(this.blockingRead(length).length);
  }

  subscribe(): Pollable {
    return new Pollable(this.#channel, () => this.#source.ready());
  }
}

/** Where an output stream has its octets go to. */
export interface Sink {
  /** Octets that `write` would take; throws a stream-error. */
  room(): number;
  /** Takes all of them, as many as there was room for; throws a stream-error. */
  write(octets: Uint8Array): void;
  ready(): boolean;
}

export class OutputStream {
  readonly #channel: Channel;
  readonly #sink: Sink;

  constructor(channel: Channel, sink: Sink) {
    this.#channel = channel;
    this.#sink = sink;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return has(value, "checkWrite", "write");
  }

  checkWrite(): bigint {
    return BigInt(this.#sink.room());
  }

  write(octets: Uint8Array): void {
    if (octets.length > this.#sink.room()) throw new Error("webtun: more is written than check-write() has permitted");
    if (octets.length > 0) this.#sink.write(octets);
  }

  blockingWriteAndFlush(octets: Uint8Array): void {
    if (octets.length > MAX_BLOCKING_WRITE) throw new Error("webtun: blocking-write-and-flush() takes 4096 octets");
    for (let rest = octets; rest.length > 0;) {
      const taken = Math.min(rest.length, this.#waitForRoom());
      this.write(rest.subarray(0, taken));
      rest = rest.subarray(taken);
    }
  }

  /** What was written is with the stack, as it is with a kernel: there is nothing to flush. */
  flush(): void {
    this.#sink.room();
  }

  blockingFlush(): void {
    this.flush();
  }

  writeZeroes(length: bigint): void {
    if (length > this.#sink.room()) throw new Error("webtun: more is written than check-write() has permitted");
    this.write(new Uint8Array(Number(length)));
  }

  blockingWriteZeroesAndFlush(length: bigint): void {
    if (length > MAX_BLOCKING_WRITE) throw new Error("webtun: blocking-write-zeroes-and-flush() takes 4096 octets");
    this.blockingWriteAndFlush(new Uint8Array(Number(length)));
  }

  splice(from: InputStream, length: bigint): bigint {
    const room = this.checkWrite();
    const octets = from.read(length < room ? length : room);
    this.write(octets);
    return BigInt(octets.length);
  }

  blockingSplice(from: InputStream, length: bigint): bigint {
    const room = BigInt(this.#waitForRoom());
    const octets = from.blockingRead(length < room ? length : room);
    this.write(octets);
    return BigInt(octets.length);
  }

  subscribe(): Pollable {
    return new Pollable(this.#channel, () => this.#sink.ready());
  }

  #waitForRoom(): number {
    for (;;) {
      const room = this.#sink.room();
      if (room > 0) return room;
      this.subscribe().block();
    }
  }
}
