/** What the emcc program around the runtime gives it. The heap is asked for anew each time: it moves when it grows. */
import type { Epoll } from "./epoll.js";
import type { ProgramStream } from "./socket.js";

export interface FileStream {
  fd: number;
  flags: number;
  shared?: { refcount: number };
  socket?: ProgramStream;
  epoll?: Epoll;
  node?: { mode: number };
  stream_ops?: { poll?(stream: FileStream, timeout?: number): number };
}

/** The part of emscripten's file system that is used; it is the same from 3.1.6 on. */
export interface FileSystem {
  streams: (FileStream | null)[];
  nodeCounter?: number;
  FSNode: new (parent: unknown, name: string, mode: number, rdev: number) => object;
  ErrnoError: new (errno: number) => Error;
  getStream(fd: number): FileStream | null | undefined;
  createStream(stream: object, first?: number, last?: number): FileStream;
  closeStream(fd: number): void;
  close(stream: FileStream): void;
}

export interface Environment {
  readonly FS: FileSystem;
  readonly module: Record<string, unknown>;
  /** The program waits by other means than by blocking the thread that this runs in. */
  readonly suspends?: boolean;
  heap(): Uint8Array;
  warn(text: string): void;
  addRunDependency(id: string): void;
  removeRunDependency(id: string): void;
}

/** Little-endian numbers in the program's memory. */
export class Memory {
  readonly #environment: Pick<Environment, "heap">;

  constructor(environment: Pick<Environment, "heap">) {
    this.#environment = environment;
  }

  octets(at: number, length: number): Uint8Array {
    return this.#environment.heap().subarray(at >>> 0, (at >>> 0) + length);
  }

  #view(at: number, length: number): DataView {
    const heap = this.#environment.heap();
    return new DataView(heap.buffer, heap.byteOffset + (at >>> 0), length);
  }

  u16(at: number): number {
    return this.#view(at, 2).getUint16(0, true);
  }

  i32(at: number): number {
    return this.#view(at, 4).getInt32(0, true);
  }

  setU16(at: number, value: number): void {
    this.#view(at, 2).setUint16(0, value, true);
  }

  setI32(at: number, value: number): void {
    this.#view(at, 4).setInt32(0, value, true);
  }

  i64(at: number): number {
    return Number(this.#view(at, 8).getBigInt64(0, true));
  }

  setI64(at: number, value: number): void {
    this.#view(at, 8).setBigInt64(0, BigInt(Math.trunc(value)), true);
  }

  text(at: number, length: number): string {
    return new TextDecoder().decode(this.octets(at, length).slice());
  }

  /** The buffers of an array of `struct iovec`. */
  vectors(at: number, count: number): Uint8Array[] {
    return Array.from({ length: count }, (_, i) => this.octets(this.i32(at + 8 * i), this.i32(at + 8 * i + 4) >>> 0));
  }
}
