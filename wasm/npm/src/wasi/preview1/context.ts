/** What the calls of a program share: its channel to the stack, its memory and its sockets. */
import type { Channel } from "../../emscripten/control.js";
import { Memory } from "../../emscripten/environment.js";
import type { Socket } from "../../emscripten/socket.js";
import { Descriptors } from "./descriptors.js";
import { errnoFor, WasiErrno } from "./errno.js";

/** A function that a program imports; `bigint` for its 64-bit parameters. */
export type Import = (...parameters: never[]) => unknown;

/** `struct iovec`: a pointer and a length. */
const VECTOR = 8;

/** As WasmEdge and Linux have it. */
const MAX_VECTORS = 1024;

/** An errno that a call ends with. */
export class Failed extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

export class Context {
  readonly channel: Channel;
  readonly descriptors = new Descriptors();
  readonly memory: Memory;
  /** Set before the program runs. */
  instance: WebAssembly.Instance | undefined;

  constructor(channel: Channel) {
    this.channel = channel;
    this.memory = new Memory({ heap: () => this.#heap() });
  }

  /** Runs a call; what it cannot do becomes an errno, and so does a pointer that leads out of the memory. */
  call(action: () => void): number {
    try {
      action();
      return 0;
    } catch (error) {
      if (error instanceof Failed) return error.errno;
      if (error instanceof RangeError) return WasiErrno.EFAULT;
      throw error;
    }
  }

  /** The socket of a descriptor. */
  socket(fd: number): Socket {
    const socket = this.descriptors.get(fd);
    if (socket === undefined) throw new Failed(WasiErrno.EBADF);
    return socket;
  }

  /** Passes a result on where it is none of the negative ones. */
  done(result: number): number {
    if (result < 0) throw new Failed(errnoFor(result));
    return result;
  }

  /** `length` octets at `at`, all of them in the memory. */
  octets(at: number, length: number): Uint8Array {
    const octets = this.memory.octets(at, length >>> 0);
    if (octets.length !== length >>> 0) throw new Failed(WasiErrno.EFAULT);
    return octets;
  }

  vectors(at: number, count: number): Uint8Array[] {
    if (count < 0 || count > MAX_VECTORS) throw new Failed(WasiErrno.EINVAL);
    return Array.from({ length: count }, (_, index) => {
      const entry = at + VECTOR * index;
      return this.octets(this.memory.i32(entry), this.memory.i32(entry + 4));
    });
  }

  #heap(): Uint8Array {
    const memory = this.instance?.exports["memory"];
    if (!(memory instanceof WebAssembly.Memory)) {
      throw new Error("webtun: the program has no memory yet: start it by start(instance) of what preview1() gives");
    }
    return new Uint8Array(memory.buffer);
  }
}
