/**
 * POSIX sockets for a program built by emcc: the functions that the C part (`emscripten/*.c`) calls. Each gives 0 or
 * more, or a negative errno; those that may wait give it by a {@link Task}, which the library runs as the program's way
 * of waiting demands: `block`, `settle` or `begin`.
 */
import { Errno } from "../posix/errno.js";
import { MAX_SOCKETS, Word, type Attachment } from "../posix/layout.js";
import { literalFamily, type Endpoint } from "../address.js";
import { accepting, binding, close, connecting, createSocket, listening, shutdown } from "./connection.js";
import {
  AF_INET, AF_INET6, AF_UNIX, FIONBIO, FIONREAD, MSG_TRUNC, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM,
  POLLWRNORM, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM,
} from "./constants.js";
import { Channel, type Task } from "./control.js";
import { Descriptors } from "./descriptors.js";
import { Memory, type Environment, type FileStream } from "./environment.js";
import { EpollCalls } from "./epoll-calls.js";
import { firstDatagram } from "../posix/datagram.js";
import { Pipe } from "./pair.js";
import { encodeAddress, readAddress, unspecified, writeAddress } from "./sockaddr.js";
import { Socket, type ProgramStream } from "./socket.js";
import { getOption, setOption } from "./sockopt.js";
import { awaitAttachment, explain } from "./start.js";
import { Suspended } from "./suspended.js";
import { receiving, sending, type Arrival } from "./transfer.js";

/** A file other than a socket never lets poll() wait, as on Linux. */
const ALWAYS = POLLIN | POLLOUT;

/** Octets of `struct sockaddr_in6`. */
const ADDRESS_SIZE = 28;

export class Runtime {
  readonly #environment: Environment;
  readonly memory: Memory;
  readonly #suspended = new Suspended();
  /** The C part has said where threads wait, as that for threads does before `main`. */
  #knowsWord = false;
  /** Kept for the library: a call of this program has been unwound before. */
  begun = false;
  readonly #descriptors: Descriptors;
  readonly #epolls: EpollCalls;
  #channel: Channel | undefined;
  #open = 0;
  #explained = false;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.memory = new Memory(environment);
    this.#descriptors = new Descriptors(environment, {
      read: (stream, into) =>
        this.#byFile((channel) => receiving(channel, stream, [into], 0), ({ length }) => length),
      write: (stream, data) =>
        this.#byFile((channel) => sending(channel, stream, [data], 0, undefined), (length) => length),
      poll: (stream) => this.#poll(stream),
      close: (stream) => this.#close(stream),
    });
    this.#epolls = new EpollCalls({
      FS: environment.FS,
      memory: this.memory,
      descriptors: this.#descriptors,
      events: (file) => this.#eventsOfFile(file),
      down: () => this.#channel?.down ?? 0,
    });
  }

  /** Holds `main` back until the page has given the program its network. */
  start(): void {
    awaitAttachment(this.#environment, (attachment: Attachment) => {
      this.#channel = new Channel(attachment, this.#environment.warn);
    });
  }

  /** Runs a task to its end; the thread sleeps in between. */
  block(task: Task<number>): number {
    return this.#channel === undefined ? once(task) ?? -Errno.ENETDOWN : this.#channel.run(task);
  }

  /** Calls `done` with the result, at once where that can be. */
  settle(task: Task<number>, done: (result: number) => void): void {
    if (this.#channel === undefined) done(once(task) ?? -Errno.ENETDOWN);
    else this.#channel.settle(task, done);
  }

  /** As {@link settle}, by a promise where it cannot be at once. */
  promise(task: Task<number>): number | Promise<number> {
    let now: number | undefined;
    const later = new Promise<number>((resolve) => this.settle(task, (result) => resolve((now = result))));
    return now ?? later;
  }

  /** The result, or a ticket for {@link resume}, which is less than every errno. */
  begin(task: Task<number>): number {
    if (this.#knowsWord) return this.#suspended.begin(task);
    this.#environment.warn("the C part is of a program without threads: use what `npx webtun emcc-flags -pthread` prints");
    return -Errno.EOPNOTSUPP;
  }

  resume(ticket: number): number {
    return this.#suspended.resume(ticket);
  }

  limit(ticket: number): number {
    return this.#suspended.limit(ticket);
  }

  /** Threads wait for the word at this address of the program's memory. */
  useWord(at: number): number {
    this.#knowsWord = true;
    this.#channel?.useWord(this.#environment.heap().buffer as unknown as SharedArrayBuffer, at);
    return 0;
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
      this.memory.setI32(at + 4 * index, this.#descriptors.open(end));
    }
    return 0;
  }

  *bind(fd: number, at: number, length: number): Task<number> {
    const { memory } = this;
    return yield* this.#task(this.#find(fd), function* (channel, socket) {
      const local = readAddress(memory, at, length, socket.family);
      if (typeof local === "number") return -local;
      return local === undefined ? -Errno.EAFNOSUPPORT : yield* binding(channel, socket, local);
    });
  }

  *connect(fd: number, at: number, length: number): Task<number> {
    const { memory } = this;
    return yield* this.#task(this.#find(fd), function* (channel, socket) {
      const remote = readAddress(memory, at, length, socket.family);
      return typeof remote === "number" ? -remote : yield* connecting(channel, socket, remote);
    });
  }

  *listen(fd: number, backlog: number): Task<number> {
    return yield* this.#task(this.#find(fd), (channel, socket) => listening(channel, socket, backlog));
  }

  *accept(fd: number, at: number, lengthAt: number, flags: number): Task<number> {
    let accepted: Socket | undefined;
    const full = (): boolean => this.#open >= MAX_SOCKETS;
    const result = yield* this.#task(this.#find(fd), function* (channel, listener) {
      if (full()) return -Errno.EMFILE;
      const socket = yield* accepting(channel, listener, flags);
      if (typeof socket === "number") return socket;
      accepted = socket;
      return 0;
    });
    if (accepted === undefined) return result;
    this.#tell(accepted, accepted.endpoint(Word.Remote), at, lengthAt);
    const fdOf = this.#with(() => this.#add(accepted as Socket));
    if (fdOf < 0 && this.#channel !== undefined) close(this.#channel, accepted);
    return fdOf;
  }

  shutdown(fd: number, how: number): number {
    const stream = this.#descriptors.find(fd);
    if (!(stream instanceof Pipe)) return this.#socket(fd, (channel, socket) => shutdown(channel, socket, how));
    if (how < 0 || how > 2) return -Errno.EINVAL;
    if (how !== 1) stream.readShut = true;
    if (how !== 0) stream.writeShut = true;
    this.#channel?.nudge();
    return 0;
  }

  /** getsockname(), and with `peer` getpeername(). */
  name(fd: number, peer: number, at: number, lengthAt: number): number {
    return this.#socket(fd, (_, socket) => {
      const remote = socket.remote;
      if (peer !== 0 && remote === undefined) return -Errno.ENOTCONN;
      this.#tell(socket, peer === 0 ? socket.local : remote, at, lengthAt);
      return 0;
    });
  }

  *send(fd: number, vectors: number, count: number, flags: number, at: number, length: number): Task<number> {
    const { memory } = this;
    return yield* this.#task(this.#descriptors.find(fd), function* (channel, stream) {
      let to: Endpoint | undefined;
      if (at !== 0 && stream instanceof Socket && !stream.stream) {
        // Linux takes an IPv4 address at an IPv6 socket, too, as though it were mapped.
        const family = length >= 2 && memory.u16(at) === AF_INET ? AF_INET : stream.family;
        const given = readAddress(memory, at, length, family);
        if (typeof given === "number") return -given;
        to = given;
      }
      return yield* sending(channel, stream, memory.vectors(vectors, count), flags, to);
    });
  }

  /** @param flagsAt - where `msg_flags` goes, or 0 */
  *receive(
    fd: number, vectors: number, count: number, flags: number, at: number, lengthAt: number, flagsAt: number,
  ): Task<number> {
    const { memory } = this;
    return yield* this.#task(this.#descriptors.find(fd), function* (channel, stream) {
      const arrival: Arrival = yield* receiving(channel, stream, memory.vectors(vectors, count), flags);
      const { length, from, truncated } = arrival;
      if (length < 0) return length;
      if (flagsAt !== 0) memory.setI32(flagsAt, truncated ? MSG_TRUNC : 0);
      if (from !== undefined && stream instanceof Socket) writeAddress(memory, from, stream.family, at, lengthAt);
      else if (lengthAt !== 0) memory.setI32(lengthAt, 0);
      return length;
    });
  }

  getsockopt(fd: number, level: number, name: number, at: number, lengthAt: number): number {
    return this.#stream(fd, (_, stream) => getOption(this.memory, stream, level, name, at, lengthAt));
  }

  setsockopt(fd: number, level: number, name: number, at: number, length: number): number {
    return this.#stream(fd, (channel, stream) => {
      const before = stream instanceof Socket ? stream.hopLimit : 0;
      const result = setOption(this.memory, stream, level, name, at, length);
      if (stream instanceof Socket && stream.stream && stream.hopLimit !== before) channel.kick(stream);
      return result;
    });
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
        stream.nonBlocking = this.memory.i32(at) !== 0;
        return 0;
      case FIONREAD:
        if (stream instanceof Socket && stream.role === "listener") return -Errno.EINVAL;
        this.memory.setI32(at, available(stream));
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
  *poll(at: number, count: number, timeout: number): Task<number> {
    const look = (): number | undefined => {
      let ready = 0;
      for (let entry = at; entry < at + 8 * count; entry += 8) {
        const fd = this.memory.i32(entry);
        const wanted = this.memory.u16(entry + 4) | POLLERR | POLLHUP | POLLNVAL;
        const events = fd < 0 ? 0 : this.#eventsOf(fd) & wanted;
        this.memory.setU16(entry + 6, events);
        if (events !== 0) ready += 1;
      }
      return ready === 0 ? undefined : ready;
    };
    return yield* this.#looking(timeout, look);
  }

  epollCreate(): number {
    return this.#with(() => this.#epolls.create());
  }

  /** @param at - a `struct epoll_event` */
  epollControl(epfd: number, operation: number, fd: number, at: number): number {
    return this.#epolls.control(epfd, operation, fd, at);
  }

  /** @param at - an array of `room` `struct epoll_event`; @param timeout - milliseconds, negative for ever */
  *epollWait(epfd: number, at: number, room: number, timeout: number): Task<number> {
    return yield* this.#looking(timeout, () => this.#epolls.look(epfd, at, room));
  }

  /** Waits until `look` gives something, and gives 0 when the time is over. */
  *#looking(timeout: number, look: () => number | undefined): Task<number> {
    if (this.#channel === undefined) return look() ?? 0;
    return (yield* this.#channel.waiting(timeout < 0 ? Infinity : timeout, look)) ?? 0;
  }

  /** Writes the addresses of a name, each in the room of a `sockaddr_in6`; their number, or a negative errno. */
  *resolve(at: number, length: number, family: number, into: number, room: number): Task<number> {
    const channel = this.#channel;
    if (channel === undefined) return this.#with(() => 0);
    const wanted = family === AF_INET ? 4 : family === AF_INET6 ? 6 : 0;
    const failed = yield* channel.calling({ op: "resolve", name: this.memory.text(at, length), family: wanted });
    if (failed !== 0) return -failed;
    const addresses = channel.addresses.slice(0, room);
    for (const [index, address] of addresses.entries()) {
      const native = literalFamily(address) === "ipv6" ? AF_INET6 : AF_INET;
      const entry = this.memory.octets(into + ADDRESS_SIZE * index, ADDRESS_SIZE);
      entry.fill(0);
      entry.set(encodeAddress({ address, port: 0 }, native));
    }
    return addresses.length;
  }

  /** By JavaScript and not by the C part: it cannot wait where the program waits by other means. */
  #byFile<T>(task: (channel: Channel) => Task<T>, length: (result: T) => number): number {
    return this.#with((channel) => {
      const result = this.#environment.suspends === true ? once(task(channel)) : channel.run(task(channel));
      return result === undefined ? -Errno.EAGAIN : length(result);
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
    if (stream instanceof Pipe) {
      stream.close();
      return this.#channel?.nudge();
    }
    this.#open -= 1;
    if (this.#channel !== undefined) close(this.#channel, stream);
  }

  #tell(socket: Socket, endpoint: Endpoint | undefined, at: number, lengthAt: number): void {
    writeAddress(this.memory, endpoint ?? unspecified(socket.family), socket.family, at, lengthAt);
  }

  #poll(stream: ProgramStream): number {
    const events = stream instanceof Pipe ? stream.poll() : stream.poll(this.#channel?.down ?? 0);
    return events | ((events & POLLIN) !== 0 ? POLLRDNORM : 0) | ((events & POLLOUT) !== 0 ? POLLWRNORM : 0);
  }

  #eventsOf(fd: number): number {
    const file = this.#environment.FS.getStream(fd);
    return file ? this.#eventsOfFile(file) : POLLNVAL;
  }

  #eventsOfFile(file: FileStream): number {
    if (file.socket !== undefined) return this.#poll(file.socket);
    return file.stream_ops?.poll?.(file, 0) ?? ALWAYS;
  }

  #with(action: (channel: Channel) => number): number {
    if (this.#channel !== undefined) return this.#guarded(this.#channel, action);
    if (!this.#explained) this.#environment.warn(explain());
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

  /** The socket of a descriptor; a socket pair has no addresses. */
  #find(fd: number): Socket | number {
    const stream = this.#descriptors.find(fd);
    return stream instanceof Pipe ? -Errno.EOPNOTSUPP : stream;
  }

  *#task<S>(stream: S | number, action: (channel: Channel, stream: S) => Task<number>): Task<number> {
    if (typeof stream === "number") return stream;
    const channel = this.#channel;
    return channel === undefined ? this.#with(() => 0) : yield* action(channel, stream);
  }

  #socket(fd: number, action: (channel: Channel, socket: Socket) => number): number {
    return this.#stream(fd, (channel, stream) =>
      stream instanceof Socket ? action(channel, stream) : -Errno.EOPNOTSUPP);
  }
}

/** The result of a task that has it at once. */
function once<T>(task: Task<T>): T | undefined {
  const step = task.next();
  return step.done ? step.value : undefined;
}

/** FIONREAD: octets of a stream, or of the next datagram. */
function available(stream: ProgramStream): number {
  if (stream instanceof Pipe) return stream.readable;
  if (stream.shared === undefined) return 0;
  return stream.stream ? stream.shared.rx.readable : (firstDatagram(stream.shared.rx)?.length ?? 0);
}
