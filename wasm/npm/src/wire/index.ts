/**
 * Decodes messages of the tunnel protocol, for debugging and tests; the stack has a decoder of its own.
 * The specification is the README of the crate `webtun-wire`.
 *
 * @example
 * import { decodeMessage } from "webtun/wire";
 * net.trace((direction, message) => console.log(direction, decodeMessage(message)));
 *
 * @module
 */
import { decodeAssign, decodeExternalPorts, decodeRequest, decodeRoutes } from "./addresses.js";
import { decodeDnsAssign, decodePref64 } from "./dns.js";
import { Reader, WireError } from "./reader.js";
import type { Capsule } from "./types.js";

export { WireError, type Problem } from "./reader.js";
export type * from "./types.js";

/** The code points of the capsules. */
export const CapsuleType = {
  DATAGRAM: 0x00,
  ADDRESS_ASSIGN: 0x01,
  ADDRESS_REQUEST: 0x02,
  ROUTE_ADVERTISEMENT: 0x03,
  DNS_ASSIGN: 0x1ace79ec,
  PREF64: 0x274c0fbc,
  HELLO: 0x2b7e1510,
  SESSION: 0x2b7e1511,
  CLOSE: 0x2b7e1512,
  LIMITS: 0x2b7e1513,
  SEQUENCE: 0x2b7e1514,
  ACK: 0x2b7e1515,
  PING: 0x2b7e1516,
  PONG: 0x2b7e1517,
  DRAIN: 0x2b7e1518,
  CONTEXT_ASSIGN: 0x2b7e1519,
  CONTEXT_ACK: 0x2b7e151a,
  CONTEXT_CLOSE: 0x2b7e151b,
  FLOW_DENIED: 0x2b7e151c,
  EXTERNAL_PORTS: 0x2b7e151d,
  PORT_MAP_REQUEST: 0x2b7e151e,
  PORT_MAP_RESPONSE: 0x2b7e151f,
  STREAM_OPEN: 0x2b7e1520,
  STREAM_DATA: 0x2b7e1521,
  STREAM_CREDIT: 0x2b7e1522,
  STREAM_FINISH: 0x2b7e1523,
  STREAM_RESET: 0x2b7e1524,
  STREAM_OPENED: 0x2b7e1525,
  STREAM_LIMITS: 0x2b7e1526,
} as const;

/** The largest code that this version knows, and what a larger one counts as. */
const CLOSE_CODES = { last: 9, other: 9 };
const RESET_REASONS = { last: 7, other: 1 };
const DENY_REASONS: ReadonlySet<number> = new Set([1, 2, 3]);
const PORT_MAP_RESULTS: ReadonlySet<number> = new Set([0, 2, 3, 8, 9, 10, 11]);

function decodeHello(value: Reader): Capsule {
  const minVersion = value.u8();
  const maxVersion = value.u8();
  if (minVersion > maxVersion) throw new WireError("range");
  const token = value.prefixed();
  const resume = value.flag() ? { sessionId: value.take(16), secret: value.take(32), next: value.varint() } : null;
  return { type: "HELLO", minVersion, maxVersion, token, resume };
}

function decodeSession(value: Reader): Capsule {
  const version = value.u8();
  const resumed = value.flag();
  const sessionId = value.take(16);
  const secret = value.take(32);
  const graceMs = value.u32();
  const next = value.varint();
  if (!resumed && next !== 0n) throw new WireError("value");
  return { type: "SESSION", version, resumed, sessionId, secret, graceMs, next };
}

function decodeClose(value: Reader): Capsule {
  const code = value.u8();
  const known = code <= CLOSE_CODES.last ? code : CLOSE_CODES.other;
  return { type: "CLOSE", code: known, retryAfterMs: value.u32(), reason: value.text() };
}

function context(value: Reader): bigint {
  const context = value.varint();
  if (context === 0n) throw new WireError("value");
  return context;
}

function decodeContextAssign(value: Reader): Capsule {
  const assigned = context(value);
  if (assigned % 2n !== 0n) throw new WireError("value");
  return { type: "CONTEXT_ASSIGN", context: assigned, kind: value.varint() };
}

function decodeFlowDenied(value: Reader): Capsule {
  const reason = value.u8();
  return {
    type: "FLOW_DENIED",
    reason: DENY_REASONS.has(reason) ? reason : 1,
    protocol: value.u8(),
    sourcePort: value.u16(),
    destination: value.address(),
    destinationPort: value.u16(),
  };
}

function decodePortMapRequest(value: Reader): Capsule {
  return {
    type: "PORT_MAP_REQUEST",
    requestId: value.varint(),
    protocol: value.u8(),
    ipv6: value.version() === 6,
    internalPort: value.u16(),
    externalPort: value.u16(),
    lifetime: value.u32(),
  };
}

function decodePortMapResponse(value: Reader): Capsule {
  const requestId = value.varint();
  const result = value.u8();
  return {
    type: "PORT_MAP_RESPONSE",
    requestId,
    result: PORT_MAP_RESULTS.has(result) ? result : 8,
    externalAddress: value.address(),
    externalPort: value.u16(),
    lifetime: value.u32(),
  };
}

function decodeStreamOpen(value: Reader): Capsule {
  const stream = value.varint();
  const family = value.u8();
  const host = family === 0 ? value.text() : value.address(family);
  if (host === "") throw new WireError("empty");
  return { type: "STREAM_OPEN", stream, host, port: value.u16(), data: value.rest() };
}

function decodeStreamLimits(value: Reader): Capsule {
  return { type: "STREAM_LIMITS", streams: value.varint(), credit: value.varint(), required: value.flag() };
}

function decodeStreamOpened(value: Reader): Capsule {
  return {
    type: "STREAM_OPENED",
    stream: value.varint(),
    localAddress: value.address(),
    localPort: value.u16(),
    remoteAddress: value.address(),
    remotePort: value.u16(),
  };
}

function decodeStreamReset(value: Reader): Capsule {
  const stream = value.varint();
  const reason = value.u8();
  return { type: "STREAM_RESET", stream, reason: reason <= RESET_REASONS.last ? reason : RESET_REASONS.other };
}

function decodeLimits(value: Reader): Capsule {
  const limits = { mtu: value.u32(), messageLen: value.u32(), unacknowledged: value.u32(), pingIntervalMs: value.u32() };
  return { type: "LIMITS", ...limits };
}

const STREAM_DECODERS: Readonly<Record<number, (value: Reader) => Capsule>> = {
  [CapsuleType.STREAM_OPEN]: decodeStreamOpen,
  [CapsuleType.STREAM_DATA]: (value) => ({ type: "STREAM_DATA", stream: value.varint(), data: value.rest() }),
  [CapsuleType.STREAM_CREDIT]: (value) => ({ type: "STREAM_CREDIT", stream: value.varint(), limit: value.varint() }),
  [CapsuleType.STREAM_FINISH]: (value) => ({ type: "STREAM_FINISH", stream: value.varint() }),
  [CapsuleType.STREAM_RESET]: decodeStreamReset,
  [CapsuleType.STREAM_OPENED]: decodeStreamOpened,
  [CapsuleType.STREAM_LIMITS]: decodeStreamLimits,
};

const DECODERS: Readonly<Record<number, (value: Reader) => Capsule>> = {
  [CapsuleType.DATAGRAM]: (value) => ({ type: "DATAGRAM", context: value.varint(), payload: value.rest() }),
  [CapsuleType.ADDRESS_ASSIGN]: decodeAssign,
  [CapsuleType.ADDRESS_REQUEST]: decodeRequest,
  [CapsuleType.ROUTE_ADVERTISEMENT]: (value) => decodeRoutes(value, (octets) => new Reader(octets)),
  [CapsuleType.DNS_ASSIGN]: decodeDnsAssign,
  [CapsuleType.PREF64]: decodePref64,
  [CapsuleType.HELLO]: decodeHello,
  [CapsuleType.SESSION]: decodeSession,
  [CapsuleType.CLOSE]: decodeClose,
  [CapsuleType.LIMITS]: decodeLimits,
  [CapsuleType.SEQUENCE]: (value) => ({ type: "SEQUENCE", number: value.varint() }),
  [CapsuleType.ACK]: (value) => ({ type: "ACK", next: value.varint() }),
  [CapsuleType.PING]: (value) => ({ type: "PING", opaque: value.u64() }),
  [CapsuleType.PONG]: (value) => ({ type: "PONG", opaque: value.u64(), received: value.u64() }),
  [CapsuleType.DRAIN]: (value) => ({ type: "DRAIN", retryAfterMs: value.u32() }),
  [CapsuleType.CONTEXT_ASSIGN]: decodeContextAssign,
  [CapsuleType.CONTEXT_ACK]: (value) => ({ type: "CONTEXT_ACK", context: context(value) }),
  [CapsuleType.CONTEXT_CLOSE]: (value) => ({ type: "CONTEXT_CLOSE", context: context(value) }),
  [CapsuleType.FLOW_DENIED]: decodeFlowDenied,
  [CapsuleType.EXTERNAL_PORTS]: decodeExternalPorts,
  [CapsuleType.PORT_MAP_REQUEST]: decodePortMapRequest,
  [CapsuleType.PORT_MAP_RESPONSE]: decodePortMapResponse,
  ...STREAM_DECODERS,
};

/** Decodes the value of one capsule. */
function decodeValue(kind: bigint, octets: Uint8Array): Capsule {
  const decode = kind <= 0xffffffffn ? DECODERS[Number(kind)] : undefined;
  if (decode === undefined) return { type: "UNKNOWN", kind, value: octets };
  const value = new Reader(octets);
  const capsule = decode(value);
  value.finish();
  return capsule;
}

/**
 * Decodes one message. The octet strings are views of it.
 *
 * @throws WireError where the message is not well-formed
 */
export function decodeMessage(message: Uint8Array): Capsule[] {
  const reader = new Reader(message);
  const frame = (): { kind: bigint; octets: Uint8Array } => {
    try {
      return { kind: reader.varint(), octets: reader.prefixed() };
    } catch {
      throw new WireError("truncated");
    }
  };
  return reader.list(() => {
    const { kind, octets } = frame();
    return decodeValue(kind, octets);
  });
}
