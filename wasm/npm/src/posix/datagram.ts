/** Datagrams in a ring: length and hop limit in a word, an endpoint, the octets, and padding up to a whole word. */
import type { Endpoint } from "../address.js";
import { putEndpoint, takeEndpoint } from "./endpoints.js";
import { ENDPOINT_WORDS } from "./layout.js";
import type { Ring } from "./ring.js";

const HEADER_WORDS = 1 + ENDPOINT_WORDS;
const HEADER = 4 * HEADER_WORDS;

/** The longest datagram (RFC 768 over IPv4). */
export const MAX_DATAGRAM = 65_507;

/** What a datagram of so many octets takes in a ring. */
export function recordSize(length: number): number {
  return HEADER + ((length + 3) & ~3);
}

/** Where the hop limit stands beside the length, which has 16 bits. */
const HOP_LIMIT_SHIFT = 16;

/** Writes a datagram where it fits; `peer` absent for the connected one, a hop limit of 0 for the default. */
export function putDatagram(ring: Ring, data: Uint8Array, peer: Endpoint | undefined, hopLimit = 0): boolean {
  if (ring.writable < recordSize(data.length)) return false;
  const header = new Int32Array(HEADER_WORDS);
  header[0] = data.length | (hopLimit << HOP_LIMIT_SHIFT);
  if (peer !== undefined) putEndpoint(header, 1, peer);
  const padding = new Uint8Array(recordSize(data.length) - HEADER - data.length);
  ring.writeAll([new Uint8Array(header.buffer), data, padding]);
  return true;
}

/** What is known of a datagram in a ring. */
export interface DatagramHead {
  readonly length: number;
  readonly peer: Endpoint | undefined;
  readonly hopLimit: number;
}

/** The datagram at the head of the ring, or `undefined`. */
export function firstDatagram(ring: Ring): DatagramHead | undefined {
  if (ring.readable < HEADER) return undefined;
  const header = new Int32Array(HEADER_WORDS);
  ring.peek(new Uint8Array(header.buffer));
  const told = header[0] ?? 0;
  const length = Math.min(told & 0xffff, ring.readable - HEADER);
  return { length, peer: takeEndpoint(header, 1), hopLimit: (told >>> HOP_LIMIT_SHIFT) & 0xff };
}

/** Copies what fits of the datagram at the head, from its octet `offset` on. */
export function copyDatagram(ring: Ring, into: Uint8Array, offset = 0): void {
  ring.peek(into, HEADER + offset);
}

/** Takes the datagram at the head out. */
export function dropDatagram(ring: Ring, length: number): void {
  ring.skip(Math.min(recordSize(length), ring.readable));
}
