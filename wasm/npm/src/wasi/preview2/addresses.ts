/** Addresses of wasi:sockets: tuples of numbers. */
import { formatAddress, isUnspecified, literalFamily, unmapped, type Endpoint } from "../../address.js";
import { AF_INET, AF_INET6 } from "../../emscripten/constants.js";
import { addressWords } from "../../posix/endpoints.js";
import { fail } from "./errors.js";

export type Family = "ipv4" | "ipv6";

export interface IpAddress {
  readonly tag: Family;
  readonly val: number[];
}

export interface IpSocketAddress {
  readonly tag: Family;
  readonly val: { readonly port: number; readonly address: number[]; readonly flowInfo?: number; readonly scopeId?: number };
}

export function nativeFamily(family: Family): number {
  return family === "ipv4" ? AF_INET : AF_INET6;
}

export function familyOf(native: number): Family {
  return native === AF_INET ? "ipv4" : "ipv6";
}

function textOf(family: Family, parts: readonly number[]): string {
  const part = (index: number): number => parts[index] ?? 0;
  if (family === "ipv4") {
    return formatAddress(4, [((part(0) << 24) | (part(1) << 16) | (part(2) << 8) | part(3)) >>> 0]);
  }
  return formatAddress(6, [0, 2, 4, 6].map((index) => ((part(index) << 16) | part(index + 1)) >>> 0));
}

/** An address for a socket of a family; those of the other one, and mapped ones, are not for it. */
export function endpointFor(family: Family, { tag, val }: IpSocketAddress): Endpoint {
  const address = textOf(tag, val.address);
  if (tag !== family || unmapped(address) !== address) fail("invalid-argument");
  return { address, port: val.port };
}

/** The same for a peer, which has an address and a port. */
export function remoteFor(family: Family, given: IpSocketAddress): Endpoint {
  const remote = endpointFor(family, given);
  if (remote.port === 0 || isUnspecified(remote.address)) fail("invalid-argument");
  return remote;
}

export function ipAddress(address: string): IpAddress {
  const words = addressWords(address);
  const family: Family = literalFamily(address) === "ipv6" ? "ipv6" : "ipv4";
  const shifts = family === "ipv4" ? [24, 16, 8, 0] : [16, 0];
  const mask = family === "ipv4" ? 0xff : 0xffff;
  return { tag: family, val: words.flatMap((word) => shifts.map((shift) => (word >>> shift) & mask)) };
}

export function socketAddress({ address, port }: Endpoint): IpSocketAddress {
  const { tag, val } = ipAddress(address);
  return { tag, val: tag === "ipv4" ? { port, address: val } : { port, address: val, flowInfo: 0, scopeId: 0 } };
}
