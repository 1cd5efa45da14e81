/** Datagrams in a ring: length, an endpoint, the octets, and padding up to a whole word. */
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

/** Writes a datagram where it fits; `peer` absent for the connected one. */
export function putDatagram(ring: Ring, data: Uint8Array, peer: Endpoint | undefined): boolean {
  if (ring.writable < recordSize(data.length)) return false;
  const header = new Int32Array(HEADER_WORDS);
  header[0] = data.length;
  if (peer !== undefined) putEndpoint(header, 1, peer);
  const padding = new Uint8Array(recordSize(data.length) - HEADER - data.length);
  ring.writeAll([new Uint8Array(header.buffer), data, padding]);
  return true;
}

/** The datagram at the head of the ring: its length and its endpoint, or `undefined`. */
export function firstDatagram(ring: Ring): { length: number; peer: Endpoint | undefined } | undefined {
  if (ring.readable < HEADER) return undefined;
  const header = new Int32Array(HEADER_WORDS);
  ring.peek(new Uint8Array(header.buffer));
  const length = Math.min(Math.max(header[0] ?? 0, 0), ring.readable - HEADER);
  return { length, peer: takeEndpoint(header, 1) };
}

/** Copies what fits of the datagram at the head, from its octet `offset` on. */
export function copyDatagram(ring: Ring, into: Uint8Array, offset = 0): void {
  ring.peek(into, HEADER + offset);
}

/** Takes the datagram at the head out. */
export function dropDatagram(ring: Ring, length: number): void {
  ring.skip(Math.min(recordSize(length), ring.readable));
}
