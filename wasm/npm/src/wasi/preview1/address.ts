/**
 * WasmEdge's addresses: a buffer and its length. Of 4 or 16 octets it is an address; of 128 (its second version) a
 * family stands before that.
 */
import { formatAddress, unmapped, type Endpoint } from "../../address.js";
import { AF_INET, AF_INET6 } from "../../emscripten/constants.js";
import { encodeAddress, unspecified } from "../../emscripten/sockaddr.js";
import type { Socket } from "../../emscripten/socket.js";
import { Failed, type Context } from "./context.js";
import { WasiErrno } from "./errno.js";

/** WasmEdge's numbers of the families, and of the types of sockets. */
export const INET4 = 1;
export const INET6 = 2;
export const DATAGRAM = 1;
export const STREAM = 2;

const STORAGE = 128;
const SIZES = { [AF_INET]: 4, [AF_INET6]: 16 } as const;
/** Where the address stands in `struct sockaddr_in` and `sockaddr_in6`. */
const IN_SOCKADDR = { [AF_INET]: 4, [AF_INET6]: 8 } as const;

type Family = typeof AF_INET | typeof AF_INET6;

function buffer(context: Context, at: number): Uint8Array {
  return context.octets(context.memory.i32(at), context.memory.i32(at + 4));
}

/** The octets of an address, without the family. */
function bare(octets: Uint8Array): Uint8Array {
  if (octets.length !== STORAGE) return octets;
  const family = octets[0] ?? 0;
  if (family !== INET4 && family !== INET6) throw new Failed(WasiErrno.EAFNOSUPPORT);
  return octets.subarray(2, family === INET4 ? 6 : 18);
}

function textOf(octets: Uint8Array): string {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  if (octets.length === 4) return formatAddress(4, [view.getUint32(0)]);
  return unmapped(formatAddress(6, [0, 4, 8, 12].map((word) => view.getUint32(word))));
}

/** The endpoint that a call is given for a socket. */
export function readEndpoint(context: Context, socket: Socket, at: number, port: number): Endpoint {
  const octets = bare(buffer(context, at));
  if (octets.length !== 4 && octets.length !== 16) throw new Failed(WasiErrno.EINVAL);
  const native = octets.length === SIZES[socket.family as Family];
  if (!native && socket.stream) throw new Failed(WasiErrno.EAFNOSUPPORT);
  return { address: textOf(octets), port: port & 0xffff };
}

/** Writes an address of a socket where a call wants it. */
export function writeAddress(context: Context, socket: Socket, endpoint: Endpoint | undefined, at: number): void {
  const into = buffer(context, at);
  const family = socket.family as Family;
  const from = IN_SOCKADDR[family];
  const sockaddr = encodeAddress(endpoint ?? unspecified(family), family);
  const address = sockaddr.subarray(from, from + SIZES[family]);
  if (into.length === STORAGE) {
    into.fill(0);
    into[0] = family === AF_INET ? INET4 : INET6;
    into.set(address, 2);
  } else if (into.length >= address.length) {
    into.set(address);
  } else {
    throw new Failed(WasiErrno.EINVAL);
  }
}
