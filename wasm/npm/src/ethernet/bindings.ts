/** The WebAssembly segment with its memory: copies in and out happen here and nowhere else. */
import { initSync, WasmEthernet, type InitOutput } from "../../generated/webtun_ethernet.js";
import { addressAt, leaseOf, word } from "../engine/events.js";
import type { TunnelLease } from "../link/protocol.js";

/** What is known of a tunnel. */
export interface LinkWords {
  readonly mac: string;
  /** Where its network card is; `undefined` while that is away. */
  readonly port: number | undefined;
  /** Of the guest, on the segment. */
  readonly address: string | undefined;
  readonly tunnel: TunnelLease | undefined;
}

/** The words before those of the lease. */
const LINK_WORDS = 5;

/** In the place of a port that there is not. */
const NO_PORT = 0xffffffff;

/** A network card's address from its two words. */
export function macOf(high: number, low: number): string {
  const octets = [high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low];
  return octets.map((octet) => (octet & 255).toString(16).padStart(2, "0")).join(":");
}

const some = (id: number): number | undefined => (id < 0 ? undefined : id);

/** Ports and links are numbers of 0 or more. */
export class Bindings {
  readonly #memory: WebAssembly.Memory;
  readonly #inner: WasmEthernet;
  readonly #clock: () => number;

  /**
   * @param seed - 32 octets from a cryptographic generator
   * @param clock - a monotonic clock in milliseconds
   */
  constructor(module: WebAssembly.Module, seed: Uint8Array, mtu: number, container2wasm: boolean, clock: () => number) {
    const exports: InitOutput = initSync({ module });
    this.#memory = exports.memory;
    this.#clock = clock;
    this.#inner = new WasmEthernet(seed, mtu, container2wasm);
  }

  #put(data: ArrayBuffer | Uint8Array): number {
    const length = data.byteLength;
    const at = this.#inner.input(length);
    const octets = data instanceof Uint8Array ? data : new Uint8Array(data);
    new Uint8Array(this.#memory.buffer, at, length).set(octets);
    return length;
  }

  #words(length: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, length === 0 ? 0 : this.#inner.pointer(), length).slice();
  }

  /** `undefined` where the segment has no room. */
  addPort(): number | undefined {
    return some(this.#inner.add_port(0, this.#clock()));
  }

  /** The port of the page's own stack; `undefined` where the segment has no room. */
  addPage(): number | undefined {
    return some(this.#inner.add_page(0, this.#clock()));
  }

  pageMessage(port: number, message: Uint8Array): void {
    this.#inner.handle_page_message(port, this.#put(message), this.#clock());
  }

  /** The next message for the page's stack, copied. */
  pollPageMessage(port: number): ArrayBuffer | undefined {
    const length = this.#inner.poll_page_message(port);
    if (length === 0) return undefined;
    const at = this.#inner.pointer();
    return this.#memory.buffer.slice(at, at + length) as ArrayBuffer;
  }

  /** Octets that wait for the tunnel of a port's guest. */
  waitingPackets(port: number): number {
    return this.#inner.waiting_packets(port);
  }

  removePort(port: number): void {
    this.#inner.remove_port(port, this.#clock());
  }

  frame(port: number, frame: Uint8Array): void {
    this.#inner.handle_frame(port, this.#put(frame), this.#clock());
  }

  pollPort(): number | undefined {
    return some(this.#inner.poll_port());
  }

  /** The next frame for a port as a view that the next call invalidates. */
  pollFrame(port: number): Uint8Array<ArrayBuffer> | undefined {
    const length = this.#inner.poll_frame(port);
    if (length === 0) return undefined;
    return new Uint8Array(this.#memory.buffer as ArrayBuffer, this.#inner.pointer(), length);
  }

  /** Octets that wait for a link's port; 0 while its network card is away. */
  waitingFrames(link: number): number {
    return this.#inner.waiting_frames_of(link);
  }

  pollLink(): number | undefined {
    return some(this.#inner.poll_link());
  }

  /** The next message for a link's transport as a view that the next call invalidates. */
  pollTransmit(link: number): Uint8Array<ArrayBuffer> | undefined {
    const length = this.#inner.poll_transmit(link, this.#clock());
    if (length === 0) return undefined;
    return new Uint8Array(this.#memory.buffer as ArrayBuffer, this.#inner.pointer(), length);
  }

  connected(link: number): void {
    this.#inner.handle_connected(link, this.#clock());
  }

  disconnected(link: number): void {
    this.#inner.handle_disconnected(link, this.#clock());
  }

  message(link: number, data: ArrayBuffer): void {
    this.#inner.handle_message(link, this.#put(data), this.#clock());
  }

  reconnectNow(): void {
    this.#inner.reconnect_now(this.#clock());
  }

  close(): void {
    this.#inner.close(this.#clock());
  }

  /** Milliseconds until {@link timeout} is due; infinity for never. */
  pollTimeout(): number {
    return this.#inner.poll_timeout() - this.#clock();
  }

  timeout(): void {
    this.#inner.handle_timeout(this.#clock());
  }

  /** A batch of events. */
  pollEvents(): Uint32Array {
    return this.#words(this.#inner.poll_events(this.#clock()));
  }

  closeReason(): string {
    return this.#inner.close_reason();
  }

  link(link: number): LinkWords | undefined {
    const words = this.#words(this.#inner.link(link));
    if (words.length === 0) return undefined;
    const v4 = word(words, 4);
    return {
      mac: macOf(word(words, 2), word(words, 3)),
      port: words[1] === NO_PORT ? undefined : words[1],
      address: v4 === 0 ? undefined : addressAt(Uint32Array.of(4, v4, 0, 0, 0), 0),
      tunnel: leaseOf(words.subarray(LINK_WORDS)),
    };
  }

  /** `undefined` where there is no such link. */
  mapPort(link: number, protocol: 6 | 17, ipv6: boolean, port: number, external: number, lifetime: number): number | undefined {
    return some(this.#inner.map_port(link, protocol, ipv6, port, external, lifetime, this.#clock()));
  }

  unmapPort(link: number, map: number): void {
    this.#inner.unmap_port(link, map, this.#clock());
  }

  /** Frames and packets that the segment has dropped. */
  dropped(): number {
    return this.#inner.dropped();
  }
}
