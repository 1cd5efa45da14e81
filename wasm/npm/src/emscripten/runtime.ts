/**
 * POSIX sockets for a program built by emcc: the functions that the C part (`emscripten/*.c`) calls. Each gives 0 or
 * more, or a negative errno.
 */
import { Errno } from "../posix/errno.js";
import { MAX_SOCKETS, State, Word, type Attachment } from "../posix/layout.js";
import { literalFamily, type Endpoint } from "../address.js";
import { accept, bind, close, connect, createSocket, listen, shutdown } from "./connection.js";
import {
  AF_INET, AF_INET6, AF_UNIX, FIONBIO, FIONREAD, MSG_TRUNC, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM,
  POLLWRNORM, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM,
} from "./constants.js";
import { Channel } from "./control.js";
import { Descriptors } from "./descriptors.js";
import { Memory, type Environment } from "./environment.js";
import { firstDatagram } from "../posix/datagram.js";
import { Pipe } from "./pair.js";
import { encodeAddress, readAddress, unspecified, writeAddress } from "./sockaddr.js";
import { Socket, type ProgramStream } from "./socket.js";
import { getOption, setOption } from "./sockopt.js";
import { awaitAttachment, explainAbsence } from "./start.js";
import { receive, send } from "./transfer.js";

/** A file other than a socket never lets poll() wait, as on Linux. */
const ALWAYS = POLLIN | POLLOUT;

/** Octets of `struct sockaddr_in6`. */
const ADDRESS_SIZE = 28;

export class Runtime {
  readonly #environment: Environment;
  readonly #memory: Memory;
  readonly #descriptors: Descriptors;
  #channel: Channel | undefined;
  #open = 0;
  #explained = false;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#memory = new Memory(environment);
    this.#descriptors = new Descriptors(environment, {
      read: (stream, into) => this.#with((channel) => receive(channel, stream, [into], 0).length),
      write: (stream, data) => this.#with((channel) => send(channel, stream, [data], 0, undefined)),
      poll: (stream) => this.#poll(stream),
      close: (stream) => this.#close(stream),
    });
  }

  /** Holds `main` back until the page has given the program its network. */
  start(): void {
    awaitAttachment(this.#environment, (attachment: Attachment) => {
      this.#channel = new Channel(attachment, this.#environment.warn);
    });
  }

  socket(family: number, type: number, protocol: number): number {
    return this.#with(() => this.#add(createSocket(family, type, protocol)));
  }

  socketpair(family: number, typeAndFlags: number, protocol: number, at: number): number {
    const type = typeAndFlags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (family !== AF_UNIX) return family === AF_INET || family === AF_INET6 ? -Errno.EOPNOTSUPP : -Errno.EAFNOSUPPORT;
    if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return -Errno.ESOCKTNOSUPPORT;
    if (protocol !== 0) return -Errno.EPROTONOSUPPORT;
    const ends = Pipe.pair(type);
    for (const [index, end] of ends.entries()) {
      end.nonBlocking = (typeAndFlags & SOCK_NONBLOCK) !== 0;
      this.#memory.setI32(at + 4 * index, this.#descriptors.open(end));
    }
    return 0;
  }

  bind(fd: number, at: number, length: number): number {
    return this.#socket(fd, (channel, socket) => {
      const local = readAddress(this.#memory, at, length, socket.family);
      if (typeof local === "number") return -local;
      return local === undefined ? -Errno.EAFNOSUPPORT : bind(channel, socket, local);
    });
  }

  connect(fd: number, at: number, length: number): number {
    return this.#socket(fd, (channel, socket) => {
      const remote = readAddress(this.#memory, at, length, socket.family);
      return typeof remote === "number" ? -remote : connect(channel, socket, remote);
    });
  }

  listen(fd: number, backlog: number): number {
    return this.#socket(fd, (channel, socket) => listen(channel, socket, backlog));
  }

  accept(fd: number, at: number, lengthAt: number, flags: number): number {
    return this.#socket(fd, (channel, listener) => {
      if (this.#open >= MAX_SOCKETS) return -Errno.EMFILE;
      const socket = accept(channel, listener, flags);
      if (typeof socket === "number") return socket;
      this.#tell(socket, socket.endpoint(Word.Remote), at, lengthAt);
      return this.#add(socket);
    });
  }

  shutdown(fd: number, how: number): number {
    const stream = this.#descriptors.find(fd);
    if (!(stream instanceof Pipe)) return this.#socket(fd, (channel, socket) => shutdown(channel, socket, how));
    if (how < 0 || how > 2) return -Errno.EINVAL;
    if (how !== 1) stream.readShut = true;
    if (how !== 0) stream.writeShut = true;
    return 0;
  }

  /** getsockname(), and with `peer` getpeername(). */
  name(fd: number, peer: number, at: number, lengthAt: number): number {
    return this.#socket(fd, (_, socket) => {
      const connected = socket.stream ? socket.state === State.Connected : socket.peer !== undefined;
      if (peer !== 0 && !connected) return -Errno.ENOTCONN;
      const local = socket.endpoint(Word.Local) ?? socket.bound;
      this.#tell(socket, peer === 0 ? local : (socket.peer ?? socket.endpoint(Word.Remote)), at, lengthAt);
      return 0;
    });
  }

  send(fd: number, vectors: number, count: number, flags: number, at: number, length: number): number {
    return this.#stream(fd, (channel, stream) => {
      let to: Endpoint | undefined;
      if (at !== 0 && stream instanceof Socket && !stream.stream) {
        const given = readAddress(this.#memory, at, length, stream.family);
        if (typeof given === "number") return -given;
        to = given;
      }
      return send(channel, stream, this.#memory.vectors(vectors, count), flags, to);
    });
  }

  /** @param flagsAt - where `msg_flags` goes, or 0 */
  receive(
    fd: number, vectors: number, count: number, flags: number, at: number, lengthAt: number, flagsAt: number,
  ): number {
    return this.#stream(fd, (channel, stream) => {
      const { length, from, truncated } = receive(channel, stream, this.#memory.vectors(vectors, count), flags);
      if (length < 0) return length;
      if (flagsAt !== 0) this.#memory.setI32(flagsAt, truncated ? MSG_TRUNC : 0);
      if (from !== undefined && stream instanceof Socket) this.#tell(stream, from, at, lengthAt);
      else if (lengthAt !== 0) this.#memory.setI32(lengthAt, 0);
      return length;
    });
  }

  getsockopt(fd: number, level: number, name: number, at: number, lengthAt: number): number {
    return this.#stream(fd, (_, stream) => getOption(this.#memory, stream, level, name, at, lengthAt));
  }

  setsockopt(fd: number, level: number, name: number, at: number, length: number): number {
    return this.#stream(fd, (_, stream) => setOption(this.#memory, stream, level, name, at, length));
  }

  /** fcntl(); -ENOTSOCK where the descriptor is for the file system. */
  fcntl(fd: number, command: number, argument: number): number {
    return this.#descriptors.control(fd, command, argument);
  }

  ioctl(fd: number, request: number, at: number): number {
    const stream = this.#descriptors.find(fd);
    if (typeof stream === "number") return stream;
    switch (request) {
      case FIONBIO:
        stream.nonBlocking = this.#memory.i32(at) !== 0;
        return 0;
      case FIONREAD:
        if (stream instanceof Socket && stream.role === "listener") return -Errno.EINVAL;
        this.#memory.setI32(at, available(stream));
        return 0;
      default:
        return -Errno.ENOTTY;
    }
  }

  /** dup(), and with `to` not negative dup2(). */
  dup(fd: number, to: number): number {
    return this.#descriptors.duplicate(fd, to);
  }

  /** @param at - an array of `struct pollfd`; @param timeout - milliseconds, negative for ever */
  poll(at: number, count: number, timeout: number): number {
    const look = (): number | undefined => {
      let ready = 0;
      for (let entry = at; entry < at + 8 * count; entry += 8) {
        const fd = this.#memory.i32(entry);
        const wanted = this.#memory.u16(entry + 4) | POLLERR | POLLHUP | POLLNVAL;
        const events = fd < 0 ? 0 : this.#eventsOf(fd) & wanted;
        this.#memory.setU16(entry + 6, events);
        if (events !== 0) ready += 1;
      }
      return ready === 0 ? undefined : ready;
    };
    if (this.#channel === undefined) return look() ?? 0;
    return this.#channel.wait(timeout < 0 ? Infinity : timeout, look) ?? 0;
  }

  /** Writes the addresses of a name, each in the room of a `sockaddr_in6`; their number, or a negative errno. */
  resolve(at: number, length: number, family: number, into: number, room: number): number {
    return this.#with((channel) => {
      const wanted = family === AF_INET ? 4 : family === AF_INET6 ? 6 : 0;
      const failed = channel.call({ op: "resolve", name: this.#memory.text(at, length), family: wanted });
      if (failed !== 0) return -failed;
      const addresses = channel.addresses.slice(0, room);
      for (const [index, address] of addresses.entries()) {
        const native = literalFamily(address) === "ipv6" ? AF_INET6 : AF_INET;
        const entry = this.#memory.octets(into + ADDRESS_SIZE * index, ADDRESS_SIZE);
        entry.fill(0);
        entry.set(encodeAddress({ address, port: 0 }, native));
      }
      return addresses.length;
    });
  }

  #add(socket: Socket | number): number {
    if (typeof socket === "number") return socket;
    if (this.#open >= MAX_SOCKETS) return -Errno.EMFILE;
    const fd = this.#descriptors.open(socket);
    this.#open += 1;
    return fd;
  }

  #close(stream: ProgramStream): void {
    if (stream instanceof Pipe) return stream.close();
    this.#open -= 1;
    if (this.#channel !== undefined) close(this.#channel, stream);
  }

  #tell(socket: Socket, endpoint: Endpoint | undefined, at: number, lengthAt: number): void {
    writeAddress(this.#memory, endpoint ?? unspecified(socket.family), socket.family, at, lengthAt);
  }

  #poll(stream: ProgramStream): number {
    const events = stream instanceof Pipe ? stream.poll() : stream.poll(this.#channel?.down ?? 0);
    return events | ((events & POLLIN) !== 0 ? POLLRDNORM : 0) | ((events & POLLOUT) !== 0 ? POLLWRNORM : 0);
  }

  #eventsOf(fd: number): number {
    const stream = this.#environment.FS.getStream(fd);
    if (!stream) return POLLNVAL;
    if (stream.socket !== undefined) return this.#poll(stream.socket);
    return stream.stream_ops?.poll?.(stream, 0) ?? ALWAYS;
  }

  #with(action: (channel: Channel) => number): number {
    if (this.#channel !== undefined) return this.#guarded(this.#channel, action);
    if (!this.#explained) this.#environment.warn(explainAbsence());
    this.#explained = true;
    return -Errno.ENETDOWN;
  }

  /** Descriptors may run out inside the file system, which says so by throwing. */
  #guarded(channel: Channel, action: (channel: Channel) => number): number {
    try {
      return action(channel);
    } catch (error) {
      if (error instanceof this.#environment.FS.ErrnoError) return -(error as unknown as { errno: number }).errno;
      throw error;
    }
  }

  #stream(fd: number, action: (channel: Channel, stream: ProgramStream) => number): number {
    const stream = this.#descriptors.find(fd);
    return typeof stream === "number" ? stream : this.#with((channel) => action(channel, stream));
  }

  #socket(fd: number, action: (channel: Channel, socket: Socket) => number): number {
    return this.#stream(fd, (channel, stream) =>
      stream instanceof Socket ? action(channel, stream) : -Errno.EOPNOTSUPP);
  }
}

/** FIONREAD: octets of a stream, or of the next datagram. */
function available(stream: ProgramStream): number {
  if (stream instanceof Pipe) return stream.readable;
  if (stream.shared === undefined) return 0;
  return stream.stream ? stream.shared.rx.readable : (firstDatagram(stream.shared.rx)?.length ?? 0);
}
