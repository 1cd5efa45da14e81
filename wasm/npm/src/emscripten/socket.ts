/** What the descriptors of a program stand for. */
import { takeEndpoint } from "../posix/endpoints.js";
import { Errno } from "../posix/errno.js";
import { State, Word } from "../posix/layout.js";
import type { Endpoint } from "../address.js";
import type { Shared } from "../posix/ring.js";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SOCK_STREAM } from "./constants.js";
import { firstDatagram } from "../posix/datagram.js";
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
  ipv6Only: boolean;
  broadcast: boolean;
  keepAlive: boolean;
  keepIdle: number;
  linger: { on: boolean; seconds: number };
  receiveBuffer: number;
  sendBuffer: number;
  /** Those that change nothing. */
  others: Map<string, number>;
}

function defaults(): Options {
  return {
    receiveTimeout: 0, sendTimeout: 0, noDelay: false, ipv6Only: false, broadcast: false,
    keepAlive: false, keepIdle: 7200, linger: { on: false, seconds: 0 }, receiveBuffer: 0, sendBuffer: 0, others: new Map(),
  };
}

export class Socket {
  readonly kind = "socket";
  readonly family: number;
  readonly type: number;
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

  constructor(family: number, type: number) {
    this.family = family;
    this.type = type;
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
        return error | this.#pollStream(error !== 0);
    }
  }

  #datagram(): boolean {
    return this.readShut || (this.shared !== undefined && firstDatagram(this.shared.rx) !== undefined);
  }

  #room(): boolean {
    return (this.shared?.tx.writable ?? 0) >= WRITABLE;
  }

  #pollStream(failed: boolean): number {
    const state = this.state;
    if (state === State.Connecting) return 0;
    if (state === State.Failed) return POLLIN | POLLOUT | POLLHUP;
    const ended = this.readShut || this.word(Word.RxEnd) === 1;
    const over = this.writeShut || this.word(Word.TxEnd) === 1;
    const readable = ended || failed || (this.shared?.rx.readable ?? 0) > 0;
    const writable = over || failed || this.#room();
    return (readable ? POLLIN : 0) | (writable ? POLLOUT : 0) | (ended ? POLLRDHUP : 0) | (ended && over ? POLLHUP : 0);
  }
}

/** The errno of a call that the state of a stream does not allow, or 0. */
export function notConnected(socket: Socket): number {
  if (socket.state === State.Connected) return 0;
  return socket.state === State.Connecting ? Errno.EAGAIN : Errno.ENOTCONN;
}
