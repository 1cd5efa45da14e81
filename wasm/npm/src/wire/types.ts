/** The capsules of the tunnel protocol, decoded. Numbers of 64 bits are `bigint`. */

export interface AssignedAddress {
  requestId: bigint;
  address: string;
  prefixLength: number;
}

export interface AddressRange {
  start: string;
  end: string;
  /** IP protocol; 0 is all. */
  protocol: number;
}

export interface PortBlock {
  address: string;
  first: number;
  count: number;
}

export interface Resume {
  sessionId: Uint8Array;
  secret: Uint8Array;
  next: bigint;
}

/** One capsule. */
export type Capsule =
  | { type: "DATAGRAM"; context: bigint; payload: Uint8Array }
  | { type: "ADDRESS_ASSIGN"; addresses: AssignedAddress[] }
  | { type: "ADDRESS_REQUEST"; addresses: AssignedAddress[] }
  | { type: "ROUTE_ADVERTISEMENT"; ranges: AddressRange[] }
  | { type: "DNS_ASSIGN"; servers: string[]; search: string[] }
  | { type: "PREF64"; prefixes: { address: string; prefixLength: number }[] }
  | { type: "HELLO"; minVersion: number; maxVersion: number; token: Uint8Array; resume: Resume | null }
  | { type: "SESSION"; version: number; resumed: boolean; sessionId: Uint8Array; secret: Uint8Array; graceMs: number;
      next: bigint }
  | { type: "CLOSE"; code: number; retryAfterMs: number; reason: string }
  | { type: "LIMITS"; mtu: number; messageLen: number; unacknowledged: number; pingIntervalMs: number }
  | { type: "SEQUENCE"; number: bigint }
  | { type: "ACK"; next: bigint }
  | { type: "PING"; opaque: bigint }
  | { type: "PONG"; opaque: bigint; received: bigint }
  | { type: "DRAIN"; retryAfterMs: number }
  | { type: "CONTEXT_ASSIGN"; context: bigint; kind: bigint }
  | { type: "CONTEXT_ACK"; context: bigint }
  | { type: "CONTEXT_CLOSE"; context: bigint }
  | { type: "FLOW_DENIED"; reason: number; protocol: number; sourcePort: number; destination: string;
      destinationPort: number }
  | { type: "EXTERNAL_PORTS"; blocks: PortBlock[] }
  | { type: "PORT_MAP_REQUEST"; requestId: bigint; protocol: number; ipv6: boolean; internalPort: number;
      externalPort: number; lifetime: number }
  | { type: "PORT_MAP_RESPONSE"; requestId: bigint; result: number; externalAddress: string; externalPort: number;
      lifetime: number }
  | { type: "STREAM_LIMITS"; streams: bigint; credit: bigint; required: boolean }
  | { type: "STREAM_OPEN"; stream: bigint; host: string; port: number; data: Uint8Array }
  | { type: "STREAM_OPENED"; stream: bigint; localAddress: string; localPort: number; remoteAddress: string;
      remotePort: number }
  | { type: "STREAM_DATA"; stream: bigint; data: Uint8Array }
  | { type: "STREAM_CREDIT"; stream: bigint; limit: bigint }
  | { type: "STREAM_FINISH"; stream: bigint }
  | { type: "STREAM_RESET"; stream: bigint; reason: number }
  | { type: "UNKNOWN"; kind: bigint; value: Uint8Array };
