/** socket(), bind(), connect(), listen(), accept(), shutdown() and close(). */
import type { Endpoint } from "../address.js";
import { isUnspecified } from "../address.js";
import { Errno } from "../posix/errno.js";
import { State, Word, type StreamTuning } from "../posix/layout.js";
import type { Shared } from "../posix/ring.js";
import {
  AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK,
  SOCK_STREAM,
} from "./constants.js";
import type { Channel, Task } from "./control.js";
import { Socket } from "./socket.js";

/** The largest backlog that is asked for; Linux's default bound, too. */
const MAX_BACKLOG = 4096;

/** The last type of socket that Linux knows of (SOCK_SEQPACKET). */
const MAX_TYPE = 5;

function tuning({ options }: Socket): StreamTuning {
  return {
    fastOpen: options.fastOpen,
    noDelay: options.noDelay,
    keepAliveDelay: options.keepAlive ? options.keepIdle * 1000 : 0,
    receiveBufferSize: options.receiveBuffer,
    sendBufferSize: options.sendBuffer,
  };
}

/** The protocols of a type of socket, that of protocol 0 first. */
function protocolsOf(family: number, type: number): number[] {
  if (type === SOCK_STREAM) return [IPPROTO_TCP];
  return [IPPROTO_UDP, family === AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6];
}

/** A socket, or a negative errno. */
export function createSocket(family: number, typeAndFlags: number, protocol: number): Socket | number {
  const type = typeAndFlags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (family !== AF_INET && family !== AF_INET6) return -Errno.EAFNOSUPPORT;
  if (type <= 0 || type > MAX_TYPE) return -Errno.EINVAL;
  if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return -Errno.ESOCKTNOSUPPORT;
  const [first = 0, ...others] = protocolsOf(family, type);
  if (protocol !== 0 && protocol !== first && !others.includes(protocol)) return -Errno.EPROTONOSUPPORT;
  const socket = new Socket(family, type, protocol || first);
  socket.nonBlocking = (typeAndFlags & SOCK_NONBLOCK) !== 0;
  return socket;
}

/** Where a socket receives that was not bound: both families, unless it is an IPv4 one. */
function anywhere(socket: Socket): Endpoint {
  return { address: socket.family === AF_INET6 ? "::" : "0.0.0.0", port: 0 };
}

/** 0, or a negative errno. */
function* openingDatagrams(channel: Channel, socket: Socket, local: Endpoint): Task<number> {
  const shared = channel.allocate();
  const id = channel.newId();
  const { ipv6Only, receiveBuffer } = socket.options;
  const settings = { ipv6Only, receiveBuffer, echo: socket.echo };
  const failed = yield* channel.calling({ op: "udp", id, memory: shared.memory, ...local, ...settings });
  if (failed !== 0) return -failed;
  socket.id = id;
  socket.shared = shared;
  socket.role = "datagram";
  return 0;
}

/** Gives a UDP socket a port, where it has none yet; 0, or a negative errno. */
export function* autobind(channel: Channel, socket: Socket): Task<number> {
  return socket.role === "new" ? yield* openingDatagrams(channel, socket, anywhere(socket)) : 0;
}

export const bind = (channel: Channel, ...given: [Socket, Endpoint]): number => channel.run(binding(channel, ...given));

/** bind(), for whoever runs it. */
export function* binding(channel: Channel, socket: Socket, local: Endpoint): Task<number> {
  if (socket.bound !== undefined || socket.role !== "new") return -Errno.EINVAL;
  if (!socket.stream) return yield* openingDatagrams(channel, socket, local);
  const failed = yield* channel.calling({ op: "probe", ...local, ipv6Only: socket.options.ipv6Only });
  if (failed !== 0) return -failed;
  socket.bound = { address: local.address, port: channel.port };
  return 0;
}

export const listen = (channel: Channel, ...given: [Socket, number]): number => channel.run(listening(channel, ...given));

/** listen(), for whoever runs it. */
export function* listening(channel: Channel, socket: Socket, backlog: number): Task<number> {
  if (!socket.stream) return -Errno.EOPNOTSUPP;
  if (socket.role === "listener") return 0;
  if (socket.role !== "new") return -Errno.EINVAL;
  const shared = channel.allocate();
  const id = channel.newId();
  const local = socket.bound ?? anywhere(socket);
  const wanted = Math.min(Math.max(backlog, 1), MAX_BACKLOG);
  const { ipv6Only } = socket.options;
  shared.set(Word.HopLimit, socket.hopLimit);
  const failed = yield* channel.calling({ op: "listen", id, memory: shared.memory, ...local, ipv6Only, backlog: wanted });
  if (failed !== 0) return -failed;
  socket.id = id;
  socket.shared = shared;
  socket.role = "listener";
  return 0;
}

/** What connect() says of a connection that was asked for before; `undefined` where there is none. */
function progress(socket: Socket): number | undefined {
  if (socket.role === "listener") return -Errno.EISCONN;
  if (socket.role !== "stream") return undefined;
  if (socket.state === State.Connecting) return -Errno.EALREADY;
  const first = socket.connecting;
  socket.connecting = false;
  if (socket.state === State.Connected) return first ? 0 : -Errno.EISCONN;
  const error = socket.takeError();
  return error !== 0 ? -error : -Errno.ECONNABORTED;
}

/** Waits for the outcome of connect(); 0, or a negative errno. */
function* awaitConnection(channel: Channel, socket: Socket): Task<number> {
  const timeout = socket.options.sendTimeout || Infinity;
  const outcome = yield* channel.waiting(timeout, () => {
    if (channel.down !== 0) return -channel.down;
    return socket.state === State.Connecting ? undefined : 0;
  });
  if (outcome === undefined) return -Errno.EINPROGRESS;
  if (outcome < 0) return outcome;
  socket.connecting = false;
  if (socket.state === State.Connected) return 0;
  const failed = -(socket.takeError() || Errno.ECONNREFUSED);
  forgetConnection(channel, socket);
  return failed;
}

/** A refused socket may be connected anew. */
function forgetConnection(channel: Channel, socket: Socket): void {
  if (socket.id !== undefined) channel.post({ op: "close", id: socket.id, abort: true });
  if (socket.shared !== undefined) channel.recycle(socket.shared);
  socket.id = undefined;
  socket.shared = undefined;
  socket.role = "new";
}

type Remote = Endpoint | undefined;

/** @param remote - `undefined` for AF_UNSPEC, which takes a connection back */
export const connect = (channel: Channel, ...given: [Socket, Remote]): number => channel.run(connecting(channel, ...given));

/** connect(), for whoever runs it. */
export function* connecting(channel: Channel, socket: Socket, given: Remote): Task<number> {
  const remote = given && isUnspecified(given.address) ? { ...given, address: loopback(given.address) } : given;
  if (!socket.stream) return yield* connectingDatagrams(channel, socket, remote);
  if (remote === undefined) return -Errno.EOPNOTSUPP;
  const before = progress(socket);
  if (before !== undefined) {
    if (before !== -Errno.EALREADY || socket.nonBlocking) return before;
    return yield* awaitConnection(channel, socket);
  }
  if (socket.bound !== undefined && !isUnspecified(socket.bound.address) && socket.bound.port !== 0) {
    return -Errno.EADDRNOTAVAIL;
  }
  if (channel.down !== 0) return -channel.down;
  const shared = channel.allocate(true);
  shared.set(Word.State, State.Connecting);
  shared.set(Word.HopLimit, socket.hopLimit);
  socket.id = channel.newId();
  socket.shared = shared;
  socket.role = "stream";
  socket.connecting = true;
  channel.post({ op: "connect", id: socket.id, memory: shared.memory, ...remote, tuning: tuning(socket) });
  return socket.nonBlocking ? -Errno.EINPROGRESS : yield* awaitConnection(channel, socket);
}

/** Linux takes the address of nobody for that of this host. */
function loopback(address: string): string {
  return address.includes(":") ? "::1" : "127.0.0.1";
}

function* connectingDatagrams(channel: Channel, socket: Socket, remote: Remote): Task<number> {
  if (remote === undefined) return socket.peer === undefined ? 0 : -Errno.EOPNOTSUPP;
  const bound = yield* autobind(channel, socket);
  if (bound < 0) return bound;
  const failed = yield* channel.calling({ op: "udp-connect", id: socket.id ?? 0, ...remote });
  if (failed === 0) socket.peer = remote;
  return -failed;
}

/** A connected socket, or a negative errno. */
export const accept = (channel: Channel, ...given: [Socket, number]): Socket | number =>
  channel.run(accepting(channel, ...given));

/** accept(), for whoever runs it. */
export function* accepting(channel: Channel, listener: Socket, flags: number): Task<Socket | number> {
  if (!listener.stream) return -Errno.EOPNOTSUPP;
  if (listener.role !== "listener") return -Errno.EINVAL;
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) !== 0) return -Errno.EINVAL;
  const timeout = listener.nonBlocking ? 0 : listener.options.receiveTimeout || Infinity;
  const end = performance.now() + timeout;
  const id = channel.newId();
  for (;;) {
    const ready = yield* channel.waiting(end - performance.now(), () => {
      // Another thread has shut it down, or closed it.
      if (listener.shared === undefined) return listener.role === "new" ? -Errno.EINVAL : -Errno.EBADF;
      return -channel.down || listener.word(Word.Incoming) || undefined;
    });
    if (ready === undefined || ready < 0) return ready ?? -Errno.EAGAIN;
    const shared = channel.allocate(true);
    shared.set(Word.HopLimit, listener.hopLimit);
    const failed = yield* channel.calling({ op: "accept", listener: listener.id ?? 0, id, memory: shared.memory });
    if (failed === 0) return accepted(listener, flags, id, shared);
    shared.set(Word.Released, 1);
    channel.recycle(shared);
    // Another thread may have taken the one that was there.
    if (failed !== Errno.EAGAIN || timeout === 0) return -failed;
  }
}

/** The socket of a connection that a listener has given. */
function accepted(listener: Socket, flags: number, id: number, shared: Shared): Socket {
  listener.accepted += 1;
  const socket = new Socket(listener.family, SOCK_STREAM, IPPROTO_TCP);
  Object.assign(socket.options, { ...listener.options, others: new Map(listener.options.others) });
  socket.nonBlocking = (flags & SOCK_NONBLOCK) !== 0;
  socket.id = id;
  socket.shared = shared;
  socket.role = "stream";
  return socket;
}

/** @param how - 0 for reading, 1 for writing, 2 for both */
export function shutdown(channel: Channel, socket: Socket, how: number): number {
  if (how < 0 || how > 2) return -Errno.EINVAL;
  if (socket.role === "listener") {
    close(channel, socket);
    socket.role = "new";
    return 0;
  }
  const connected = socket.stream ? socket.state === State.Connected : socket.peer !== undefined;
  if (!connected) return -Errno.ENOTCONN;
  if (how !== 1) socket.readShut = true;
  if (how !== 0 && !socket.writeShut) {
    socket.writeShut = true;
    if (socket.stream) {
      socket.shared?.set(Word.TxFin, 1);
      channel.kick(socket);
    }
  }
  return 0;
}

/** Data that was not read, and SO_LINGER with no time, reset the connection (RFC 1122 section 4.2.2.13). */
export function close(channel: Channel, socket: Socket): void {
  const { id, shared } = socket;
  socket.id = undefined;
  socket.shared = undefined;
  if (id === undefined || shared === undefined) return;
  const { linger } = socket.options;
  const unread = socket.role === "stream" && shared.rx.readable > 0;
  channel.post({ op: "close", id, abort: unread || (linger.on && linger.seconds === 0) });
  channel.recycle(shared);
  channel.nudge();
}
