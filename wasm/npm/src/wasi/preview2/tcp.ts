/** wasi:sockets/tcp. */
import { accept, connect, listen, shutdown } from "../../emscripten/connection.js";
import { MSG_DONTWAIT, POLLERR, POLLHUP, POLLIN, POLLOUT, SOCK_NONBLOCK, SOCK_STREAM } from "../../emscripten/constants.js";
import type { Channel } from "../../emscripten/control.js";
import type { Socket } from "../../emscripten/socket.js";
import { receive, send } from "../../emscripten/transfer.js";
import type { Endpoint } from "../../address.js";
import { Errno } from "../../posix/errno.js";
import { State } from "../../posix/layout.js";
import { remoteFor, type Family, type IpSocketAddress } from "./addresses.js";
import { BaseSocket, positive, type Quota } from "./base.js";
import { codeOf, done, fail } from "./errors.js";
import { InputStream, OutputStream, Pollable, streamFails, type Sink, type Source } from "./io.js";

type Stage = "new" | "connecting" | "connected" | "starting" | "listening" | "closed";

const SHUTDOWNS = { receive: 0, send: 1, both: 2 } as const;
const DEFAULT_BACKLOG = 128;
const SECOND = 1_000_000_000n;
/** Seconds, as Linux bounds TCP_KEEPIDLE. */
const MAX_IDLE = 32_767n;

function source(channel: Channel, socket: Socket): Source {
  return {
    read(length) {
      if (length === 0) return new Uint8Array(0);
      const into = new Uint8Array(Math.min(length, Math.max(socket.shared?.rx.readable ?? 0, 1)));
      const got = receive(channel, socket, [into], MSG_DONTWAIT).length;
      if (got === -Errno.EAGAIN) return new Uint8Array(0);
      if (got <= 0) streamFails(got === 0 ? undefined : codeOf(-got));
      return into.subarray(0, got);
    },
    ready: () => (socket.poll(channel.down) & (POLLIN | POLLERR | POLLHUP)) !== 0,
  };
}

function sink(channel: Channel, socket: Socket): Sink {
  const ready = (): boolean => (socket.poll(channel.down) & (POLLOUT | POLLERR | POLLHUP)) !== 0;
  return {
    room() {
      if (socket.writeShut) streamFails(undefined);
      if (channel.down !== 0) streamFails(codeOf(Errno.ECONNRESET));
      return ready() ? (socket.shared?.tx.writable ?? 0) : 0;
    },
    write(octets) {
      const sent = send(channel, socket, [octets], MSG_DONTWAIT, undefined);
      if (sent < 0) streamFails(sent === -Errno.EPIPE ? undefined : codeOf(-sent));
    },
    ready,
  };
}

export class TcpSocket extends BaseSocket {
  #stage: Stage = "new";
  #remote: Endpoint | undefined;
  #backlog = DEFAULT_BACKLOG;
  #interval = 75n * SECOND;
  #probes = 9;

  static open(channel: Channel, family: Family, quota: Quota): TcpSocket {
    return new TcpSocket(channel, BaseSocket.create(family, SOCK_STREAM, quota), quota);
  }

  startConnect(_network: unknown, given: IpSocketAddress): void {
    if (this.#stage !== "new") fail("invalid-state");
    this.#remote = remoteFor(this.addressFamily(), given);
    const result = connect(this.channel, this.socket, this.#remote);
    this.#stage = result === -Errno.EINPROGRESS || result === 0 ? "connecting" : "closed";
    if (this.#stage === "closed") done(result);
  }

  finishConnect(): [InputStream, OutputStream] {
    if (this.#stage !== "connecting") fail("not-in-progress");
    if (this.channel.down !== 0) this.#stage = "closed";
    const result = this.#stage === "closed" ? -this.channel.down : connect(this.channel, this.socket, this.#remote);
    if (result < 0 && result !== -Errno.EALREADY) this.#stage = "closed";
    done(result);
    this.#stage = "connected";
    return this.#streams();
  }

  startListen(): void {
    if (this.#stage !== "new" || !this.isBound) fail("invalid-state");
    done(listen(this.channel, this.socket, this.#backlog));
    this.#stage = "starting";
  }

  finishListen(): void {
    if (this.#stage !== "starting") fail("not-in-progress");
    this.#stage = "listening";
  }

  accept(): [TcpSocket, InputStream, OutputStream] {
    if (this.#stage !== "listening") fail("invalid-state");
    if (this.quota.open >= this.quota.limit) fail("new-socket-limit");
    const socket = accept(this.channel, this.socket, SOCK_NONBLOCK);
    if (typeof socket === "number") fail(codeOf(-socket));
    const accepted = new TcpSocket(this.channel, socket, this.quota);
    accepted.#stage = "connected";
    accepted.#interval = this.#interval;
    accepted.#probes = this.#probes;
    accepted.hops = this.hops;
    return [accepted, ...accepted.#streams()];
  }

  isListening(): boolean {
    return this.#stage === "listening";
  }

  setListenBacklogSize(value: bigint): void {
    positive(value);
    if (this.#stage === "connecting" || this.#stage === "connected") fail("invalid-state");
    if (this.#stage === "listening") fail("not-supported");
    this.#backlog = Number(value < 4096n ? value : 4096n);
  }

  keepAliveEnabled(): boolean {
    return this.socket.options.keepAlive;
  }

  setKeepAliveEnabled(value: boolean): void {
    this.socket.options.keepAlive = value;
  }

  keepAliveIdleTime(): bigint {
    return BigInt(this.socket.options.keepIdle) * SECOND;
  }

  setKeepAliveIdleTime(value: bigint): void {
    const seconds = (positive(value) + SECOND - 1n) / SECOND;
    this.socket.options.keepIdle = Number(seconds < MAX_IDLE ? seconds : MAX_IDLE);
  }

  keepAliveInterval(): bigint {
    return this.#interval;
  }

  setKeepAliveInterval(value: bigint): void {
    this.#interval = positive(value);
  }

  keepAliveCount(): number {
    return this.#probes;
  }

  setKeepAliveCount(value: number): void {
    this.#probes = positive(value);
  }

  hopLimit(): number {
    return this.hops;
  }

  setHopLimit(value: number): void {
    this.hops = value;
  }

  subscribe(): Pollable {
    return new Pollable(this.channel, () => this.#ready());
  }

  shutdown(type: keyof typeof SHUTDOWNS): void {
    if (this.#stage !== "connected") fail("invalid-state");
    // Of a connection that has failed meanwhile there is nothing left to shut.
    const result = shutdown(this.channel, this.socket, SHUTDOWNS[type]);
    if (result !== -Errno.ENOTCONN) done(result);
  }

  #ready(): boolean {
    if (this.channel.down !== 0) return true;
    if (this.#stage === "connecting") return this.socket.state !== State.Connecting;
    return this.#stage !== "listening" || this.socket.poll(0) !== 0;
  }

  #streams(): [InputStream, OutputStream] {
    const { channel, socket } = this;
    return [new InputStream(channel, source(channel, socket)), new OutputStream(channel, sink(channel, socket))];
  }
}
