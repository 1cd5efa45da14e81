/** Sockets among the descriptors of emscripten's file system. */
import { Errno } from "../posix/errno.js";
import {
  F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, O_NONBLOCK, O_RDWR, POLLIN, POLLRDNORM, S_IFSOCK,
} from "./constants.js";
import type { Environment, FileStream } from "./environment.js";
import type { Epoll } from "./epoll.js";
import type { ProgramStream } from "./socket.js";

/** What read(), write() and close() by way of the file system end in. */
export interface StreamCalls {
  read(stream: ProgramStream, into: Uint8Array): number;
  write(stream: ProgramStream, data: Uint8Array): number;
  poll(stream: ProgramStream): number;
  close(stream: ProgramStream): void;
}

export class Descriptors {
  readonly #environment: Environment;
  readonly #operations: object;

  constructor(environment: Environment, calls: StreamCalls) {
    this.#environment = environment;
    const checked = (result: number): number => {
      if (result < 0) throw new environment.FS.ErrnoError(-result);
      return result;
    };
    const part = (buffer: ArrayBufferView, offset: number, length: number): Uint8Array =>
      new Uint8Array(buffer.buffer, buffer.byteOffset + offset, length);
    type Transfer = [stream: FileStream, buffer: ArrayBufferView, offset: number, length: number];
    const socketOf = (stream: FileStream): ProgramStream => stream.socket as ProgramStream;
    this.#operations = {
      read: (...[stream, buffer, offset, length]: Transfer) =>
        checked(calls.read(socketOf(stream), part(buffer, offset, length))),
      write: (...[stream, buffer, offset, length]: Transfer) =>
        checked(calls.write(socketOf(stream), part(buffer, offset, length))),
      poll: (stream: FileStream) => calls.poll(socketOf(stream)),
      close: (stream: FileStream) => {
        const socket = socketOf(stream);
        socket.references -= 1;
        if (socket.references === 0) calls.close(socket);
      },
    };
  }

  /** The socket of a descriptor, or a negative errno. */
  find(fd: number): ProgramStream | number {
    const stream = this.#environment.FS.getStream(fd);
    if (!stream) return -Errno.EBADF;
    return stream.socket ?? -Errno.ENOTSOCK;
  }

  /** A new descriptor for a socket; throws where there is none left. */
  open(socket: ProgramStream, from?: number, to?: number): number {
    const { FS } = this.#environment;
    const node = new FS.FSNode(null, "socket", S_IFSOCK | 0o777, 0);
    const flags = O_RDWR | (socket.nonBlocking ? O_NONBLOCK : 0);
    const stream = { node, path: "socket", flags, seekable: false, position: 0, stream_ops: this.#operations, socket };
    return FS.createStream(stream, from, to).fd;
  }

  /** A new descriptor for an instance of epoll, which is waited for as a file is, and neither read nor written. */
  openEpoll(epoll: Epoll): number {
    const { FS } = this.#environment;
    const refuse = (): never => {
      throw new FS.ErrnoError(Errno.EINVAL);
    };
    const operations = {
      poll: () => (epoll.ready ? POLLIN | POLLRDNORM : 0), read: refuse, write: refuse, close: () => {},
    };
    const node = new FS.FSNode(null, "epoll", 0o600, 0);
    const stream = { node, path: "epoll", flags: O_RDWR, seekable: false, position: 0, stream_ops: operations, epoll };
    return FS.createStream(stream).fd;
  }

  /** dup(), and with `to` dup2() and dup3(), for a socket. */
  duplicate(fd: number, to: number): number {
    const socket = this.find(fd);
    if (typeof socket === "number") return socket;
    const { FS } = this.#environment;
    if (to >= 0) {
      if (to >= 4096) return -Errno.EBADF;
      const old = FS.getStream(to);
      if (old) FS.close(old);
    }
    socket.references += 1;
    return to >= 0 ? this.open(socket, to, to) : this.open(socket);
  }

  control(fd: number, command: number, argument: number): number {
    const socket = this.find(fd);
    if (typeof socket === "number") return socket;
    switch (command) {
      case F_DUPFD:
      case F_DUPFD_CLOEXEC:
        if (argument < 0) return -Errno.EINVAL;
        socket.references += 1;
        return this.open(socket, argument);
      case F_GETFD:
      case F_SETFD:
        return 0;
      case F_GETFL:
        return O_RDWR | (socket.nonBlocking ? O_NONBLOCK : 0);
      case F_SETFL:
        socket.nonBlocking = (argument & O_NONBLOCK) !== 0;
        return 0;
      default:
        return -Errno.EINVAL;
    }
  }
}
