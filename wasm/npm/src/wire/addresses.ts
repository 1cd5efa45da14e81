/** ADDRESS_ASSIGN, ADDRESS_REQUEST, ROUTE_ADVERTISEMENT (RFC 9484 section 4.7) and EXTERNAL_PORTS. */
import { WireError, type Reader } from "./reader.js";
import type { AddressRange, AssignedAddress, Capsule } from "./types.js";

function assigned(value: Reader): AssignedAddress {
  const requestId = value.varint();
  const version = value.version();
  const address = value.ip(version);
  const prefixLength = value.u8();
  if (prefixLength > (version === 4 ? 32 : 128)) throw new WireError("prefix_length");
  return { requestId, address, prefixLength };
}

export function decodeAssign(value: Reader): Capsule {
  return { type: "ADDRESS_ASSIGN", addresses: value.list(() => assigned(value)) };
}

export function decodeRequest(value: Reader): Capsule {
  const addresses = value.list(() => assigned(value));
  if (addresses.length === 0) throw new WireError("empty");
  if (addresses.some(({ requestId }) => requestId === 0n)) throw new WireError("value");
  return { type: "ADDRESS_REQUEST", addresses };
}

interface Bounds {
  readonly version: number;
  readonly protocol: number;
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** RFC 9484 section 4.7.3: sorted by version, protocol and start, without overlap. */
function follows(last: Bounds, next: Bounds): boolean {
  if (next.version !== last.version) return next.version > last.version;
  if (next.protocol !== last.protocol) return next.protocol > last.protocol;
  return compare(next.start, last.end) > 0;
}

export function decodeRoutes(value: Reader, fields: (octets: Uint8Array) => Reader): Capsule {
  let last: Bounds | undefined;
  const ranges = value.list((): AddressRange => {
    const version = value.version();
    const length = version === 4 ? 4 : 16;
    const start = value.take(length);
    const end = value.take(length);
    const protocol = value.u8();
    const next: Bounds = { version, protocol, start, end };
    if (compare(start, end) > 0 || (last !== undefined && !follows(last, next))) throw new WireError("range");
    last = next;
    return { start: fields(start).ip(version), end: fields(end).ip(version), protocol };
  });
  return { type: "ROUTE_ADVERTISEMENT", ranges };
}

export function decodeExternalPorts(value: Reader): Capsule {
  const blocks = value.list(() => {
    const block = { address: value.address(), first: value.u16(), count: value.u16() };
    if (block.count === 0 || block.first + block.count > 65_536) throw new WireError("range");
    return block;
  });
  return { type: "EXTERNAL_PORTS", blocks };
}
