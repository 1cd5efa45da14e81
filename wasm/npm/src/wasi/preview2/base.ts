/** What the TCP and the UDP sockets of wasi:sockets have in common. */
import type { Channel } from "../../emscripten/control.js";
import { bind, close, createSocket } from "../../emscripten/connection.js";
import { AF_INET6 } from "../../emscripten/constants.js";
import type { Socket } from "../../emscripten/socket.js";
import { endpointFor, familyOf, nativeFamily, socketAddress, type Family, type IpSocketAddress } from "./addresses.js";
import { done, fail } from "./errors.js";
import { dispose } from "./io.js";

/** The largest buffer that is asked for; Linux's default bound, doubled. */
const MAX_BUFFER = 425_984n;
const DEFAULT_BUFFER = 262_144;
const DEFAULT_HOP_LIMIT = 64;

/** How many sockets a program has. */
export interface Quota {
  open: number;
  readonly limit: number;
}

export class BaseSocket {
  readonly channel: Channel;
  readonly socket: Socket;
  protected readonly quota: Quota;
  #binding: "unbound" | "binding" | "bound" = "unbound";
  #dropped = false;

  constructor(channel: Channel, socket: Socket, quota: Quota) {
    this.channel = channel;
    this.socket = socket;
    this.quota = quota;
    quota.open += 1;
    socket.nonBlocking = true;
    socket.options.ipv6Only = socket.family === AF_INET6;
  }

  /** A new socket of the stack; there is room for it or this throws. */
  static create(family: Family, type: number, quota: Quota): Socket {
    if (quota.open >= quota.limit) fail("new-socket-limit");
    const socket = createSocket(nativeFamily(family), type, 0);
    return typeof socket === "number" ? fail("not-supported") : socket;
  }

  get isBound(): boolean {
    return this.#binding === "bound";
  }

  startBind(_network: unknown, local: IpSocketAddress): void {
    if (this.#binding !== "unbound" || this.socket.role !== "new") fail("invalid-state");
    done(bind(this.channel, this.socket, endpointFor(this.addressFamily(), local)));
    this.#binding = "binding";
  }

  finishBind(): void {
    if (this.#binding !== "binding") fail("not-in-progress");
    this.#binding = "bound";
  }

  localAddress(): IpSocketAddress {
    const { local } = this.socket;
    return local === undefined || this.#binding === "binding" ? fail("invalid-state") : socketAddress(local);
  }

  remoteAddress(): IpSocketAddress {
    const { remote } = this.socket;
    return remote === undefined ? fail("invalid-state") : socketAddress(remote);
  }

  addressFamily(): Family {
    return familyOf(this.socket.family);
  }

  receiveBufferSize(): bigint {
    return BigInt(this.socket.options.receiveBuffer || DEFAULT_BUFFER);
  }

  setReceiveBufferSize(value: bigint): void {
    this.socket.options.receiveBuffer = bufferSize(value);
  }

  sendBufferSize(): bigint {
    return BigInt(this.socket.options.sendBuffer || DEFAULT_BUFFER);
  }

  setSendBufferSize(value: bigint): void {
    this.socket.options.sendBuffer = bufferSize(value);
  }

  protected get hops(): number {
    return this.socket.hopLimit || DEFAULT_HOP_LIMIT;
  }

  protected set hops(value: number) {
    this.socket.hopLimit = positive(value);
    if (this.socket.stream) this.channel.kick(this.socket);
  }

  [dispose](): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.quota.open -= 1;
    close(this.channel, this.socket);
  }
}

/** A value that may not be 0. */
export function positive<T extends number | bigint>(value: T): T {
  return Number(value) === 0 ? fail("invalid-argument") : value;
}

function bufferSize(value: bigint): number {
  return Number(positive(value) < MAX_BUFFER ? value : MAX_BUFFER);
}
