/** What the descriptors of a program stand for. */
import { takeEndpoint } from "../posix/endpoints.js";
import { Errno } from "../posix/errno.js";
import { State, Word } from "../posix/layout.js";
import type { Endpoint } from "../address.js";
import type { Shared } from "../posix/ring.js";
import {
  AF_INET, IPPROTO_ICMP, IPPROTO_ICMPV6, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SOCK_STREAM,
} from "./constants.js";
import { firstDatagram } from "../posix/datagram.js";
import { edgesOf, Refills } from "./edges.js";
import type { Pipe } from "./pair.js";

/** Anything that a descriptor can name here: a socket of the stack, or an end of a socket pair. */
export type ProgramStream = Socket | Pipe;

/** Octets of room with which poll() tells that a socket is writable, so that a wake-up is worth it, as on Linux. */
const WRITABLE = 32 * 1024;

/** Values of options that are kept, and given back by getsockopt(). */
export interface Options {
  receiveTimeout: number;
  sendTimeout: number;
  noDelay: boolean;
  /** TCP_FASTOPEN_CONNECT. */
  fastOpen: boolean;
  ipv6Only: boolean;
  broadcast: boolean;
  keepAlive: boolean;
  keepIdle: number;
  linger: { on: boolean; seconds: number };
  receiveBuffer: number;
  sendBuffer: number;
  /** IP_TTL and IPV6_UNICAST_HOPS; 0 for the default. */
  ttl: number;
  hops: number;
  /** Those that change nothing. */
  others: Map<string, number>;
}

function defaults(): Options {
  return {
    receiveTimeout: 0, sendTimeout: 0, noDelay: false, fastOpen: false, ipv6Only: false, broadcast: false,
    keepAlive: false, keepIdle: 7200, linger: { on: false, seconds: 0 }, receiveBuffer: 0, sendBuffer: 0, ttl: 0, hops: 0,
    others: new Map(),
  };
}

export class Socket {
  readonly kind = "socket";
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  readonly options = defaults();
  /** Descriptors that name it. */
  references = 1;
  nonBlocking = false;
  /** The engine's number and memory, once it knows the socket. */
  id: number | undefined;
  shared: Shared | undefined;
  role: "new" | "stream" | "listener" | "datagram" = "new";
  /** The address of bind(), before the engine has the socket. */
  bound: Endpoint | undefined;
  /** The peer of a connected UDP socket. */
  peer: Endpoint | undefined;
  /** A connect() that was refused or is on its way has not been reported yet. */
  connecting = false;
  readShut = false;
  writeShut = false;
  readonly refills = new Refills();
  /** Connections that the program has taken from a listener. */
  accepted = 0;

  constructor(family: number, type: number, protocol: number) {
    this.family = family;
    this.type = type;
    this.protocol = protocol;
  }

  /** A socket for ICMP echo requests. */
  get echo(): boolean {
    return this.protocol === IPPROTO_ICMP || this.protocol === IPPROTO_ICMPV6;
  }

  /** TTL or hop limit of what is sent; 0 for the default. */
  get hopLimit(): number {
    return this.family === AF_INET ? this.options.ttl : this.options.hops;
  }

  set hopLimit(value: number) {
    this.options[this.family === AF_INET ? "ttl" : "hops"] = value;
    this.shareHopLimit();
  }

  /** Lets the engine know, where the socket is a stream; datagrams carry it. */
  shareHopLimit(): void {
    if (this.stream) this.shared?.set(Word.HopLimit, this.hopLimit);
  }

  get stream(): boolean {
    return this.type === SOCK_STREAM;
  }

  word(word: number): number {
    return this.shared?.get(word) ?? 0;
  }

  get state(): State {
    return this.role === "stream" ? this.word(Word.State) : State.Idle;
  }

  endpoint(word: Word.Local | Word.Remote): Endpoint | undefined {
    return this.shared && takeEndpoint(this.shared.words, word);
  }

  /** What getsockname() tells, once there is an address. */
  get local(): Endpoint | undefined {
    return this.endpoint(Word.Local) ?? this.bound;
  }

  /** What getpeername() tells of a connected socket. */
  get remote(): Endpoint | undefined {
    const connected = this.stream ? this.state === State.Connected : this.peer !== undefined;
    return connected ? (this.peer ?? this.endpoint(Word.Remote)) : undefined;
  }

  /** Takes the pending error; 0 where there is none. */
  takeError(): number {
    return this.shared === undefined ? 0 : Atomics.exchange(this.shared.words, Word.Error, 0);
  }

  /** The events of poll(), `down` being the errno of a tunnel that is gone. */
  poll(down: number): number {
    if (down !== 0 && this.role !== "new") return POLLIN | POLLOUT | POLLERR | POLLHUP;
    const error = this.word(Word.Error) === 0 ? 0 : POLLERR;
    switch (this.role) {
      case "new":
        return this.stream ? POLLOUT | POLLHUP : POLLOUT;
      case "listener":
        return error | (this.word(Word.Incoming) === 0 ? 0 : POLLIN);
      case "datagram":
        return error | (this.#datagram() || error ? POLLIN : 0) | (this.#room() ? POLLOUT : 0);
      case "stream":
        return this.#pollStream();
    }
  }

  /** See `Source.edges`: what arrives, what happens to the connection, and room after there was none. */
  edges(down: number): number {
    const arrived = this.role === "listener" ? this.accepted + this.word(Word.Incoming) : this.word(Word.RxHead);
    const ends = [Word.RxEnd, Word.TxEnd, Word.Error].map((word) => this.word(word) !== 0);
    return edgesOf(arrived, this.refills.count(this.#room()), this.state, [...ends, this.readShut, this.writeShut, down !== 0]);
  }

  #datagram(): boolean {
    return this.readShut || (this.shared !== undefined && firstDatagram(this.shared.rx) !== undefined);
  }

  #room(): boolean {
    return (this.shared?.tx.writable ?? 0) >= WRITABLE;
  }

  #pollStream(): number {
    // The engine tells the error before the state: looked at in the other order, SO_ERROR would have nothing to tell yet.
    const state = this.state;
    if (state === State.Connecting) return 0;
    const failed = this.word(Word.Error) !== 0;
    const error = failed ? POLLERR : 0;
    if (state === State.Failed) return error | POLLIN | POLLOUT | POLLHUP;
    const ended = this.readShut || this.word(Word.RxEnd) === 1;
    const over = this.writeShut || this.word(Word.TxEnd) === 1;
    const readable = ended || failed || (this.shared?.rx.readable ?? 0) > 0;
    const writable = over || failed || this.#room();
    return error | (readable ? POLLIN : 0) | (writable ? POLLOUT : 0) | (ended ? POLLRDHUP : 0) | (ended && over ? POLLHUP : 0);
  }
}

/** The errno of a call that the state of a stream does not allow, or 0. */
export function notConnected(socket: Socket): number {
  if (socket.state === State.Connected) return 0;
  return socket.state === State.Connecting ? Errno.EAGAIN : Errno.ENOTCONN;
}
