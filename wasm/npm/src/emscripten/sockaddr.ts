/** `struct sockaddr_in` and `sockaddr_in6`. */
import { literalFamily, type Endpoint } from "../address.js";
import { addressWords } from "../posix/endpoints.js";
import { Errno } from "../posix/errno.js";
import { AF_INET, AF_INET6, AF_UNSPEC } from "./constants.js";
import type { Memory } from "./environment.js";
import { formatAddress } from "../address.js";

const IN_SIZE = 16;
const IN6_SIZE = 28;
const MAPPED = 0xffff;

function word(octets: Uint8Array, at: number): number {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength).getUint32(at, false);
}

/** The address of a socket of `family`, an errno where it is none, or `undefined` for AF_UNSPEC. */
export function readAddress(memory: Memory, at: number, length: number, family: number): Endpoint | number | undefined {
  if (length < 2) return Errno.EINVAL;
  const given = memory.u16(at);
  if (given === AF_UNSPEC) return undefined;
  if (given !== family) return Errno.EAFNOSUPPORT;
  if (length < (family === AF_INET ? IN_SIZE : IN6_SIZE - 4)) return Errno.EINVAL;
  const octets = memory.octets(at, Math.min(length, IN6_SIZE)).slice();
  const port = ((octets[2] ?? 0) << 8) | (octets[3] ?? 0);
  if (family === AF_INET) return { address: formatAddress(4, [word(octets, 4)]), port };
  const words = [8, 12, 16, 20].map((from) => word(octets, from));
  const mapped = words[0] === 0 && words[1] === 0 && words[2] === MAPPED;
  return { address: mapped ? formatAddress(4, [words[3] ?? 0]) : formatAddress(6, words), port };
}

export function encodeAddress({ address, port }: Endpoint, family: number): Uint8Array {
  const octets = new Uint8Array(family === AF_INET ? IN_SIZE : IN6_SIZE);
  const view = new DataView(octets.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port, false);
  const words = addressWords(address);
  const mapped = family === AF_INET6 && literalFamily(address) === "ipv4";
  const all = mapped ? [0, 0, MAPPED, ...words] : words;
  for (const [index, each] of all.entries()) view.setUint32((family === AF_INET ? 4 : 8) + 4 * index, each, false);
  return octets;
}

/** Writes what fits into `*length` octets, and to `length` what there is. Null pointers are left alone. */
export function writeAddress(memory: Memory, endpoint: Endpoint, family: number, at: number, length: number): void {
  if (at === 0 || length === 0) return;
  const octets = encodeAddress(endpoint, family);
  const room = Math.min(memory.i32(length) >>> 0, octets.length);
  memory.octets(at, room).set(octets.subarray(0, room));
  memory.setI32(length, octets.length);
}

/** The address of a socket that has none yet. */
export function unspecified(family: number): Endpoint {
  return { address: family === AF_INET6 ? "::" : "0.0.0.0", port: 0 };
}
