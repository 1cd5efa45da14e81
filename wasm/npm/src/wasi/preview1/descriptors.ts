/** The descriptors of sockets. Those of files are the shim's, whose table cannot be shared. */
import { MAX_SOCKETS } from "../../posix/layout.js";
import type { Socket } from "../../emscripten/socket.js";
import { WasiErrno } from "./errno.js";

/** The first descriptor of a socket: far beyond what a shim gives out for files. */
export const FIRST = 0x1_0000;

export class Descriptors {
  readonly #sockets = new Map<number, Socket>();

  get(fd: number): Socket | undefined {
    return this.#sockets.get(fd);
  }

  /** The lowest descriptor that is free, or a negative errno. */
  open(socket: Socket): number {
    if (this.#sockets.size >= MAX_SOCKETS) return -WasiErrno.EMFILE;
    let fd = FIRST;
    while (this.#sockets.has(fd)) fd += 1;
    this.#sockets.set(fd, socket);
    return fd;
  }

  remove(fd: number): void {
    this.#sockets.delete(fd);
  }

  /** Gives the socket of `from` the number `to`, which belonged to another one. */
  move(from: number, to: number): void {
    const socket = this.#sockets.get(from);
    if (socket === undefined) return;
    this.#sockets.delete(from);
    this.#sockets.set(to, socket);
  }
}
