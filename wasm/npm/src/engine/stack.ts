/** The WebAssembly stack with its memory: copies in and out happen here and nowhere else. */
import { initSync, WasmStack, type InitOutput } from "../../generated/webtun.js";
import type { Endpoint, IpFamily } from "../address.js";
import type { TcpTuning, TunnelLease } from "../link/protocol.js";
import { endpointAt, endpointsAt, leaseOf, word } from "./events.js";

/** Octets that one {@link Stack.receive} gives at most: larger buffers cost more to allocate than they save. */
const RECEIVE_LIMIT = 1024 * 1024;

/** ENOTSUP, see {@link Stack.connectSplit}. */
const NOT_SPLIT = -35;

/** Words of one entry of a list of received datagrams. */
const ENTRY_WORDS = 7;

/** A datagram from the stack. */
export interface ReceivedDatagram {
  readonly data: ArrayBuffer;
  readonly from: Endpoint;
}

/** Octets, with a buffer of their own, or why there are none. */
export type Reception = Uint8Array<ArrayBuffer> | "empty" | "finished" | { readonly code: number };

/** Identifiers and lengths are 0 or more; a negative result is the code of a failure. */
export class Stack {
  readonly #memory: WebAssembly.Memory;
  readonly #splits: boolean;
  readonly #inner: WasmStack;
  readonly #clock: () => number;
  /** The last message, while its memory is ours to give away. */
  #message: ArrayBuffer | undefined;

  /**
   * @param seed - 32 octets from a cryptographic generator
   * @param clock - a monotonic clock in milliseconds
   */
  constructor(module: WebAssembly.Module, seed: Uint8Array, clock: () => number) {
    const exports: InitOutput = initSync({ module });
    this.#memory = exports.memory;
    this.#splits = "wasmstack_tcp_connect_split" in exports;
    this.#clock = clock;
    this.#inner = new WasmStack(seed, clock());
  }

  #put(data: ArrayBuffer | Uint8Array): number {
    const length = data.byteLength;
    const at = this.#inner.input(length);
    const octets = data instanceof Uint8Array ? data : new Uint8Array(data);
    new Uint8Array(this.#memory.buffer, at, length).set(octets);
    return length;
  }

  #words(length: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, length === 0 ? 0 : this.#inner.pointer(), length);
  }

  #copy(length: number, offset = 0): ArrayBuffer {
    const at = this.#inner.pointer() + offset;
    return this.#memory.buffer.slice(at, at + length) as ArrayBuffer;
  }

  connected(): void {
    this.#inner.handle_connected(this.#clock());
  }

  /** Takes over `data`: what it has brought may be handed on in it. */
  message(data: ArrayBuffer): void {
    this.#message = data;
    this.#inner.handle_message(this.#put(data), this.#clock());
  }

  disconnected(): void {
    this.#inner.handle_disconnected(this.#clock());
  }

  timeout(): void {
    this.#inner.handle_timeout(this.#clock());
  }

  reconnectNow(): void {
    this.#inner.reconnect_now(this.#clock());
  }

  close(): void {
    this.#inner.close(this.#clock());
  }

  /** The next message for the transport as a view that the next call invalidates. */
  pollTransmit(): Uint8Array<ArrayBuffer> | undefined {
    const length = this.#inner.poll_transmit(this.#clock());
    if (length === 0) return undefined;
    return new Uint8Array(this.#memory.buffer as ArrayBuffer, this.#inner.pointer(), length);
  }

  /** A batch of events, copied, because handling one calls the stack again. */
  pollEvents(): Uint32Array {
    return this.#words(this.#inner.poll_events(this.#clock())).slice();
  }

  /** Milliseconds until {@link timeout} is due; infinity for never. */
  pollTimeout(): number {
    return this.#inner.poll_timeout() - this.#clock();
  }

  lease(): TunnelLease | undefined {
    return leaseOf(this.#words(this.#inner.lease()));
  }

  closeReason(): string {
    return this.#inner.close_reason();
  }

  /** Milliseconds, or `undefined` before the first measurement. */
  rtt(): number | undefined {
    const rtt = this.#inner.rtt();
    return rtt < 0 ? undefined : rtt;
  }

  octets(): { sent: number; received: number } {
    return { sent: this.#inner.octets_sent(), received: this.#inner.octets_received() };
  }

  connect(remote: Endpoint, tuning: TcpTuning): number {
    const { noDelay = false, keepAliveDelay = 0, receiveBufferSize = 0, sendBufferSize = 0, hopLimit = 0 } = tuning;
    const { address, port } = remote;
    return this.#inner.tcp_connect(
      address, port, noDelay, keepAliveDelay, receiveBufferSize, sendBufferSize, hopLimit, this.#clock());
  }

  /**
   * Connects by a socket of the gateway's, which resolves the name, if that is wanted or demanded; what is sent before the
   * connection is there travels with the request. `undefined`: it is to be connected to end to end.
   */
  connectSplit(host: string, port: number, wanted: boolean): number | undefined {
    // The slim module does without.
    const id = this.#splits ? this.#inner.tcp_connect_split(host, port, wanted, this.#clock()) : NOT_SPLIT;
    return id === NOT_SPLIT ? undefined : id;
  }

  listen(local: Endpoint, backlog: number, ipv6Only: boolean): number {
    return this.#inner.tcp_listen(local.address, local.port, backlog, ipv6Only, this.#clock());
  }

  accept(listener: number): { id: number; local: Endpoint; remote: Endpoint } | undefined {
    const id = this.#inner.tcp_accept(listener);
    return id < 0 ? undefined : { id, ...endpointsAt(this.#words(12), 0) };
  }

  /** Sends what follows `offset`, straight into the send buffer; returns how many octets were taken. */
  send(id: number, data: ArrayBuffer | Uint8Array, offset: number): number {
    const octets = data instanceof Uint8Array ? data : new Uint8Array(data);
    let at = offset;
    while (at < data.byteLength) {
      const room = this.#inner.tcp_send(id, data.byteLength - at, this.#clock());
      if (room < 0) return room;
      if (room === 0) break;
      new Uint8Array(this.#memory.buffer, this.#inner.pointer(), room).set(octets.subarray(at, at + room));
      this.#inner.tcp_sent(id, room, this.#clock());
      at += room;
    }
    return at - offset;
  }

  receive(id: number, limit: number): Reception {
    const whole = this.#arrival(id, limit);
    if (whole !== undefined) return whole;
    const result = this.#inner.tcp_recv(id, Math.min(limit, RECEIVE_LIMIT), this.#clock());
    if (result > 0) {
      const data = new Uint8Array(this.#copy(result));
      this.#inner.tcp_received(id, result, this.#clock());
      return data;
    }
    if (result === 0) return "empty";
    return result === -1 ? "finished" : { code: -result };
  }

  /**
   * What there is to read as a part of the last message, where it is most of that: fresh memory, which a copy would need,
   * costs more than the copy.
   */
  #arrival(id: number, limit: number): Uint8Array<ArrayBuffer> | undefined {
    const message = this.#message;
    if (message === undefined) return undefined;
    const parts = this.#words(this.#inner.tcp_arrival(id));
    let length = 0;
    for (let index = 1; index < parts.length; index += 2) length += word(parts, index);
    if (length > limit || length * 2 < message.byteLength) return undefined;
    const octets = new Uint8Array(message, word(parts, 0), length);
    moveTogether(new Uint8Array(message), parts);
    this.#message = undefined;
    this.#inner.tcp_taken(id, this.#clock());
    return octets;
  }

  /** As {@link receive}, for octets that nobody wants. */
  drain(id: number): Exclude<Reception, Uint8Array> {
    for (;;) {
      const result = this.#inner.tcp_recv(id, RECEIVE_LIMIT, this.#clock());
      if (result === 0) return "empty";
      if (result < 0) return result === -1 ? "finished" : { code: -result };
      this.#inner.tcp_received(id, result, this.#clock());
    }
  }

  /** Octets that the other side has not acknowledged yet. */
  unsent(id: number): number {
    return this.#inner.tcp_unsent(id);
  }

  shutdown(id: number): void {
    this.#inner.tcp_shutdown(id, this.#clock());
  }

  abort(id: number): void {
    this.#inner.tcp_abort(id, this.#clock());
  }

  /** Closes a socket of any kind and forgets it. */
  forget(id: number): void {
    this.#inner.close_socket(id, this.#clock());
  }

  localAddress(id: number): Endpoint | undefined {
    return endpointAt(this.#words(this.#inner.local_address(id)), 0);
  }

  bind(local: Endpoint, ipv6Only: boolean, receiveBufferSize: number): number {
    return this.#inner.udp_bind(local.address, local.port, ipv6Only, receiveBufferSize, this.#clock());
  }

  /** A socket for ICMP echo requests, whose port is their identifier; it is used as one for UDP. */
  bindEcho(local: Endpoint, receiveBufferSize: number): number {
    return this.#inner.echo_bind(local.address, local.port, receiveBufferSize, this.#clock());
  }

  /** The TTL or hop limit of what a socket of any kind sends from now on. */
  setHopLimit(id: number, hopLimit: number): void {
    this.#inner.set_hop_limit(id, hopLimit);
  }

  connectUdp(id: number, remote: Endpoint): number {
    return this.#inner.udp_connect(id, remote.address, remote.port);
  }

  /** 1 where the datagram was taken, 0 where there is no room now. */
  sendTo(id: number, data: ArrayBuffer, to: Endpoint | undefined): number {
    const length = this.#put(data);
    if (to === undefined) return this.#inner.udp_send(id, length, this.#clock());
    return this.#inner.udp_send_to(id, length, to.address, to.port, this.#clock());
  }

  /** Datagrams of together at most `limit` octets, but one in any case. */
  receiveFrom(id: number, limit: number): ReceivedDatagram[] {
    const count = this.#inner.udp_recv(id, limit);
    if (count === 0) return [];
    const data = this.#inner.pointer();
    const entries = this.#words(this.#inner.udp_entries());
    const datagrams: ReceivedDatagram[] = [];
    for (let index = 0, offset = data; index < count; index++) {
      const length = word(entries, index * ENTRY_WORDS);
      const from = endpointAt(entries, index * ENTRY_WORDS + 1) ?? { address: "", port: 0 };
      datagrams.push({ data: this.#memory.buffer.slice(offset, offset + length) as ArrayBuffer, from });
      offset += length;
    }
    return datagrams;
  }

  resolve(name: string, family: IpFamily | undefined): number {
    const number = family === "ipv4" ? 4 : family === "ipv6" ? 6 : 0;
    return this.#inner.resolve(name, number, this.#clock());
  }

  cancelResolve(id: number): void {
    this.#inner.cancel_resolve(id, this.#clock());
  }

  ping(address: string, size: number, timeout: number): number {
    return this.#inner.ping(address, size, timeout, this.#clock());
  }

  mapPort(protocol: 6 | 17, family: IpFamily, internal: number, external: number, lifetime: number): number {
    return this.#inner.map_port(protocol, family === "ipv6", internal, external, lifetime, this.#clock());
  }

  unmapPort(id: number): void {
    this.#inner.unmap_port(id, this.#clock());
  }
}

/** Moves what lies at these pairs of offset and length behind the first of them. */
function moveTogether(octets: Uint8Array, parts: Uint32Array): void {
  let end = word(parts, 0) + word(parts, 1);
  for (let index = 2; index < parts.length; index += 2) {
    const start = word(parts, index);
    octets.copyWithin(end, start, start + word(parts, index + 1));
    end += word(parts, index + 1);
  }
}
