/** send() and recv() in all their forms. */
import type { Endpoint } from "../address.js";
import { literalFamily } from "../address.js";
import { copyDatagram, dropDatagram, firstDatagram, MAX_DATAGRAM, putDatagram } from "../posix/datagram.js";
import { Errno } from "../posix/errno.js";
import { State, Word } from "../posix/layout.js";
import { autobind } from "./connection.js";
import { AF_INET, MSG_DONTWAIT, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL } from "./constants.js";
import type { Channel, Task } from "./control.js";
import { Pipe } from "./pair.js";
import type { ProgramStream, Socket } from "./socket.js";

/** IPv6 has no header length in its payload's length, but UDP's own is in it. */
const MAX_DATAGRAM_V6 = 65_487;

/** Octets of the headers of UDP and of an echo request. */
const UDP_HEADER = 8;
const ECHO_HEADER = 8;

/** What recvmsg() tells beside the octets. */
export interface Arrival {
  /** Octets, or a negative errno. */
  length: number;
  from?: Endpoint | undefined;
  truncated?: boolean;
}

/** How long a call may wait: milliseconds. */
function patience(stream: ProgramStream, flags: number, direction: "receive" | "send"): number {
  if (stream.nonBlocking || (flags & MSG_DONTWAIT) !== 0) return 0;
  if (stream instanceof Pipe) return Infinity;
  return stream.options[direction === "receive" ? "receiveTimeout" : "sendTimeout"] || Infinity;
}

/** One buffer after another as one. */
function gather(buffers: readonly Uint8Array[]): Uint8Array {
  if (buffers.length === 1 && buffers[0] !== undefined) return buffers[0];
  const all = new Uint8Array(buffers.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const each of buffers) {
    all.set(each, at);
    at += each.length;
  }
  return all;
}

/** Writes what was received into the buffers, as far as they go. */
function scatter(data: Uint8Array, buffers: readonly Uint8Array[]): void {
  let at = 0;
  for (const each of buffers) {
    each.set(data.subarray(at, at + each.length));
    at += each.length;
  }
}

const lengthOf = (buffers: readonly Uint8Array[]): number => buffers.reduce((sum, { length }) => sum + length, 0);

type SendArguments = [ProgramStream, readonly Uint8Array[], number, Endpoint | undefined];

export const send = (channel: Channel, ...given: SendArguments): number => channel.run(sending(channel, ...given));

/** send(), for whoever runs it. */
export function* sending(channel: Channel, ...[stream, buffers, flags, to]: SendArguments): Task<number> {
  if ((flags & MSG_OOB) !== 0) return -Errno.EOPNOTSUPP;
  const data = gather(buffers);
  if (stream instanceof Pipe) return yield* sendToPipe(channel, stream, data, flags);
  if (stream.stream) return yield* sendOctets(channel, stream, data, flags);
  return yield* sendDatagram(channel, stream, data, flags, to);
}

/** Only another thread of the program can make room while this one waits. */
function* sendToPipe(channel: Channel, pipe: Pipe, data: Uint8Array, flags: number): Task<number> {
  const step = (): number | undefined => {
    const taken = pipe.send(data);
    if (taken !== -Errno.EAGAIN) return taken;
    return channel.down !== 0 ? -Errno.EPIPE : undefined;
  };
  const taken = (yield* channel.waiting(patience(pipe, flags, "send"), step)) ?? -Errno.EAGAIN;
  if (taken > 0) channel.nudge();
  return taken;
}

function* sendOctets(channel: Channel, socket: Socket, data: Uint8Array, flags: number): Task<number> {
  const { shared } = socket;
  if (socket.role !== "stream" || shared === undefined) return -Errno.EPIPE;
  const waiting = patience(socket, flags, "send");
  let sent = 0;
  const step = (): number | undefined => {
    if (socket.shared !== shared) return sent || -Errno.EBADF;
    const state = socket.state;
    if (channel.down !== 0) return sent || -Errno.ECONNRESET;
    if (state === State.Connecting) return undefined;
    // Looked at first, so that the error that has led to it is there.
    const over = socket.writeShut || shared.get(Word.TxEnd) === 1 || state !== State.Connected;
    const error = sent > 0 ? 0 : socket.takeError();
    if (error !== 0) {
      shared.set(Word.TxEnd, 1);
      return -error;
    }
    if (over) return sent || -Errno.EPIPE;
    const taken = shared.tx.write(data.subarray(sent));
    sent += taken;
    if (taken > 0) channel.kick(socket);
    socket.refills.full ||= sent < data.length;
    return sent === data.length ? sent : undefined;
  };
  return (yield* channel.waiting(waiting, step)) ?? (sent || -Errno.EAGAIN);
}

/** What Linux sends by such a socket: a whole header, and of no other type (RFC 792, RFC 4443 section 4.1). */
function isEchoRequest(data: Uint8Array, family: number): boolean {
  return data.length >= ECHO_HEADER && data[0] === (family === AF_INET ? 8 : 128) && data[1] === 0;
}

function* sendDatagram(
  channel: Channel, socket: Socket, data: Uint8Array, flags: number, to: Endpoint | undefined,
): Task<number> {
  if (socket.echo && !isEchoRequest(data, socket.family)) return -Errno.EINVAL;
  const peer = to ?? socket.peer;
  if (peer === undefined) return -Errno.EDESTADDRREQ;
  if (to?.port === 0 && !socket.echo) return -Errno.EINVAL;
  if (socket.echo && literalFamily(peer.address) !== (socket.family === AF_INET ? "ipv4" : "ipv6")) return -Errno.EINVAL;
  if (socket.options.ipv6Only && literalFamily(peer.address) === "ipv4") return -Errno.ENETUNREACH;
  if (socket.writeShut) return -Errno.EPIPE;
  if (peer.address === "255.255.255.255" && !socket.options.broadcast) return -Errno.EACCES;
  const limit = literalFamily(peer.address) === "ipv4" ? MAX_DATAGRAM : MAX_DATAGRAM_V6;
  if (data.length > limit + (socket.echo ? UDP_HEADER : 0)) return -Errno.EMSGSIZE;
  const bound = yield* autobind(channel, socket);
  if (bound < 0) return bound;
  const { shared } = socket;
  if (shared === undefined) return -Errno.EBADF;
  const step = (): number | undefined => {
    if (socket.shared !== shared) return -Errno.EBADF;
    const error = channel.down || socket.takeError();
    if (error !== 0) return -error;
    if (putDatagram(shared.tx, data, to, socket.hopLimit)) return data.length;
    socket.refills.full = true;
    return undefined;
  };
  const result = (yield* channel.waiting(patience(socket, flags, "send"), step)) ?? -Errno.EAGAIN;
  if (result >= 0) channel.kick(socket);
  return result;
}

type ReceiveArguments = [ProgramStream, readonly Uint8Array[], number];

export const receive = (channel: Channel, ...given: ReceiveArguments): Arrival =>
  channel.run(receiving(channel, ...given));

/** recv(), for whoever runs it. */
export function* receiving(channel: Channel, ...[stream, buffers, flags]: ReceiveArguments): Task<Arrival> {
  if ((flags & MSG_OOB) !== 0) return { length: -Errno.EINVAL };
  const waiting = patience(stream, flags, "receive");
  if (stream instanceof Pipe) return yield* receiveFromPipe(channel, stream, buffers, flags, waiting);
  return stream.stream
    ? { length: yield* receiveOctets(channel, stream, buffers, flags, waiting) }
    : yield* receiveDatagram(channel, stream, buffers, flags, waiting);
}

function* receiveFromPipe(
  channel: Channel, pipe: Pipe, buffers: readonly Uint8Array[], flags: number, waiting: number,
): Task<Arrival> {
  const into = new Uint8Array(lengthOf(buffers));
  const step = (): number | undefined => {
    const result = pipe.receive(into, (flags & MSG_PEEK) !== 0);
    return result === -Errno.EAGAIN ? undefined : result;
  };
  const result = (yield* channel.waiting(waiting, step)) ?? -Errno.EAGAIN;
  if (result > 0) channel.nudge();
  if (result > 0) scatter(into.subarray(0, result), buffers);
  const truncated = result > into.length;
  const told = truncated && (flags & MSG_TRUNC) === 0 ? into.length : result;
  return { length: told, truncated };
}

function* receiveOctets(
  channel: Channel, socket: Socket, buffers: readonly Uint8Array[], flags: number, waiting: number,
): Task<number> {
  const { shared } = socket;
  if (socket.role !== "stream" || shared === undefined) return -Errno.ENOTCONN;
  const wanted = lengthOf(buffers);
  const peek = (flags & MSG_PEEK) !== 0;
  const all = (flags & MSG_WAITALL) !== 0 && !peek && waiting !== 0;
  let got = 0;
  const step = (): number | undefined => {
    if (socket.shared !== shared) return got || -Errno.EBADF;
    if (socket.state === State.Connecting && channel.down === 0) return undefined;
    // What stands in the ring comes before what has happened after it; the end is looked at first, so that nothing can
    // come between the two looks.
    const ended = socket.readShut || shared.get(Word.RxEnd) === 1;
    got += takeOctets(channel, socket, buffers, got, peek);
    if (got > 0 && (!all || got === wanted || ended)) return got;
    if (wanted === 0 && shared.rx.readable > 0) return 0;
    const lost = channel.down !== 0 && !ended ? Errno.ECONNRESET : 0;
    const error = got > 0 ? 0 : socket.takeError() || lost;
    if (error !== 0) return -error;
    if (socket.state === State.Failed) return -Errno.ENOTCONN;
    return ended || channel.down !== 0 ? got : undefined;
  };
  return (yield* channel.waiting(waiting, step)) ?? (got || -Errno.EAGAIN);
}

/** Reads from the ring behind what the buffers have already; lets the engine go on where it waits for room. */
function takeOctets(
  channel: Channel, socket: Socket, buffers: readonly Uint8Array[], from: number, peek: boolean,
): number {
  const { shared } = socket;
  if (shared === undefined) return 0;
  let skip = from;
  let taken = 0;
  for (const buffer of buffers) {
    const into = buffer.subarray(Math.min(skip, buffer.length));
    skip -= buffer.length - into.length;
    if (into.length === 0) continue;
    const read = peek ? shared.rx.peek(into, taken) : shared.rx.read(into);
    taken += read;
    if (read < into.length) break;
  }
  resume(channel, socket);
  return taken;
}

function resume(channel: Channel, socket: Socket): void {
  const { shared } = socket;
  if (shared === undefined || shared.get(Word.RxStalled) === 0 || shared.rx.writable < shared.rx.size / 2) return;
  shared.set(Word.RxStalled, 0);
  channel.kick(socket);
}

function* receiveDatagram(
  channel: Channel, socket: Socket, buffers: readonly Uint8Array[], flags: number, waiting: number,
): Task<Arrival> {
  const bound = yield* autobind(channel, socket);
  if (bound < 0) return { length: bound };
  const { shared } = socket;
  if (shared === undefined) return { length: -Errno.EBADF };
  const room = lengthOf(buffers);
  const step = (): Arrival | undefined => {
    if (socket.shared !== shared) return { length: -Errno.EBADF };
    const error = channel.down || socket.takeError();
    if (error !== 0) return { length: -error };
    const first = firstDatagram(shared.rx);
    if (first === undefined) return socket.readShut ? { length: 0 } : undefined;
    let at = 0;
    for (const buffer of buffers) {
      const part = buffer.subarray(0, Math.max(0, first.length - at));
      if (part.length > 0) copyDatagram(shared.rx, part, at);
      at += part.length;
    }
    if ((flags & MSG_PEEK) === 0) {
      dropDatagram(shared.rx, first.length);
      resume(channel, socket);
    }
    const truncated = first.length > room;
    // As on Linux, a socket for echo requests takes no notice of the flag.
    const whole = (flags & MSG_TRUNC) !== 0 && !socket.echo;
    const length = truncated && !whole ? room : first.length;
    return { length, from: first.peer, truncated };
  };
  return (yield* channel.waiting(waiting, step)) ?? { length: -Errno.EAGAIN };
}
