/** wasi:sockets/udp. */
import { connect } from "../../emscripten/connection.js";
import { MSG_DONTWAIT, POLLERR, POLLHUP, POLLIN, SOCK_DGRAM } from "../../emscripten/constants.js";
import type { Channel } from "../../emscripten/control.js";
import type { Socket } from "../../emscripten/socket.js";
import { receive, send } from "../../emscripten/transfer.js";
import { MAX_DATAGRAM, recordSize } from "../../posix/datagram.js";
import { Errno } from "../../posix/errno.js";
import { familyOf, remoteFor, socketAddress, type Family, type IpSocketAddress } from "./addresses.js";
import { BaseSocket, type Quota } from "./base.js";
import { codeOf, done, fail } from "./errors.js";
import { Pollable } from "./io.js";

/** The most datagrams of one call. */
const MAX_BATCH = 64;

export interface IncomingDatagram {
  readonly data: Uint8Array;
  readonly remoteAddress: IpSocketAddress;
}

export interface OutgoingDatagram {
  readonly data: Uint8Array;
  readonly remoteAddress?: IpSocketAddress | undefined;
}

export class IncomingDatagramStream {
  readonly #channel: Channel;
  readonly #socket: Socket;

  constructor(channel: Channel, socket: Socket) {
    this.#channel = channel;
    this.#socket = socket;
  }

  receive(most: bigint): IncomingDatagram[] {
    const wanted = most < MAX_BATCH ? Number(most) : MAX_BATCH;
    const datagrams: IncomingDatagram[] = [];
    const into = new Uint8Array(wanted === 0 ? 0 : MAX_DATAGRAM);
    while (datagrams.length < wanted) {
      const { length, from = this.#socket.peer } = receive(this.#channel, this.#socket, [into], MSG_DONTWAIT);
      if (length < 0) {
        if (length === -Errno.EAGAIN || datagrams.length > 0) break;
        fail(codeOf(-length));
      }
      if (from !== undefined) datagrams.push({ data: into.slice(0, length), remoteAddress: socketAddress(from) });
    }
    return datagrams;
  }

  subscribe(): Pollable {
    const wanted = POLLIN | POLLERR | POLLHUP;
    return new Pollable(this.#channel, () => (this.#socket.poll(this.#channel.down) & wanted) !== 0);
  }
}

export class OutgoingDatagramStream {
  readonly #channel: Channel;
  readonly #socket: Socket;
  #permit = 0;

  constructor(channel: Channel, socket: Socket) {
    this.#channel = channel;
    this.#socket = socket;
  }

  checkSend(): bigint {
    this.#permit = this.#ready() ? MAX_BATCH : 0;
    return BigInt(this.#permit);
  }

  /** How many were sent; those that there was no room for were not. */
  send(datagrams: readonly OutgoingDatagram[]): bigint {
    if (datagrams.length > this.#permit) throw new Error("webtun: more is sent than check-send() has permitted");
    this.#permit = 0;
    let sent = 0;
    for (const { data, remoteAddress } of datagrams) {
      const result = this.#send(data, remoteAddress);
      if (result === -Errno.EAGAIN || (result < 0 && sent > 0)) break;
      done(result);
      sent += 1;
    }
    return BigInt(sent);
  }

  subscribe(): Pollable {
    return new Pollable(this.#channel, () => this.#ready());
  }

  #send(data: Uint8Array, given: IpSocketAddress | undefined): number {
    const { peer, family } = this.#socket;
    const remote = given && remoteFor(familyOf(family), given);
    const other = remote !== undefined && peer !== undefined && (remote.address !== peer.address || remote.port !== peer.port);
    if (other || (remote ?? peer) === undefined) return -Errno.EINVAL;
    return send(this.#channel, this.#socket, [data], MSG_DONTWAIT, peer === undefined ? remote : undefined);
  }

  /** There is room for the largest one, or a failure to tell. */
  #ready(): boolean {
    if ((this.#socket.poll(this.#channel.down) & POLLERR) !== 0) return true;
    return (this.#socket.shared?.tx.writable ?? 0) >= recordSize(MAX_DATAGRAM);
  }
}

export class UdpSocket extends BaseSocket {
  static open(channel: Channel, family: Family, quota: Quota): UdpSocket {
    const socket = BaseSocket.create(family, SOCK_DGRAM, quota);
    // There is no such option, and every address may be written to.
    socket.options.broadcast = true;
    return new UdpSocket(channel, socket, quota);
  }

  /** A peer that was chosen can be changed, and not be given up: the stack has no such call. */
  stream(given: IpSocketAddress | undefined): [IncomingDatagramStream, OutgoingDatagramStream] {
    const { channel, socket } = this;
    if (!this.isBound) fail("invalid-state");
    const remote = given && remoteFor(this.addressFamily(), given);
    done(connect(channel, socket, remote));
    return [new IncomingDatagramStream(channel, socket), new OutgoingDatagramStream(channel, socket)];
  }

  unicastHopLimit(): number {
    return this.hops;
  }

  setUnicastHopLimit(value: number): void {
    this.hops = value;
  }

  /** All that a socket does without its streams is done at once. */
  subscribe(): Pollable {
    return new Pollable(this.channel, () => true);
  }
}
