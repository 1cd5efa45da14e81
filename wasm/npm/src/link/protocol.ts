/**
 * What a page and its engine say to each other. The same messages cross from page to Worker by `postMessage` and, with
 * the stack in place, by a plain call. Every batch is an array; buffers in it are transferred, not copied.
 *
 * Sockets are named by handles: even ones are chosen by the page, odd ones by the engine (accepted connections).
 */
import type { Endpoint, IpFamily } from "../address.js";
import type { Failure } from "../errors.js";
import type { Attachment } from "../posix/layout.js";

/** Options of a TCP connection that the stack understands. */
export interface TcpTuning {
  readonly noDelay?: boolean;
  /** Milliseconds of silence after which keep-alive segments are sent. */
  readonly keepAliveDelay?: number;
  /** Octets. */
  readonly sendBufferSize?: number;
  /** Octets. */
  readonly receiveBufferSize?: number;
  /** TTL or hop limit; 0 for the default. */
  readonly hopLimit?: number;
}

/** An external port to be mapped to a local one (RFC 6887). */
export interface ExternalRequest {
  /** 0 for any. */
  readonly port: number;
  /** Seconds. */
  readonly lifetime: number;
  readonly family: IpFamily;
}

/** From the page to the engine. */
export type Command =
  /** `split`: by a socket of the gateway's, where it has that. */
  | { op: "connect"; handle: number; host: string; port: number; family?: IpFamily; tuning: TcpTuning; split?: boolean;
      credit: number }
  | { op: "listen"; handle: number; local: Endpoint; backlog?: number; ipv6Only: boolean; external?: ExternalRequest }
  | { op: "adopt"; handle: number; credit: number }
  | { op: "udp"; handle: number; local?: Endpoint; remote?: Endpoint; family?: IpFamily; ipv6Only: boolean;
      external?: ExternalRequest; credit: number; receiveBufferSize?: number }
  /** More octets (or, for a listener, connections) may be delivered. */
  | { op: "credit"; handle: number; amount: number }
  | { op: "send"; handle: number; data: ArrayBuffer; to?: Endpoint; family?: IpFamily }
  /** No more data will be sent: FIN after what was. */
  | { op: "shutdown"; handle: number }
  /** Nobody reads any more: received data is dropped so that the other side can finish. */
  | { op: "discard"; handle: number }
  | { op: "close"; handle: number; abort: boolean }
  | { op: "resolve"; call: number; name: string; family?: IpFamily }
  | { op: "ping"; call: number; host: string; family?: IpFamily; size: number; timeout: number }
  /** A program with POSIX sockets asks for them by shared memory and a port of its own. */
  | { op: "program"; attachment: Attachment }
  | { op: "trace"; on: boolean }
  | { op: "end" };

/** What a socket has learned by the time it is open. */
export interface Opened {
  readonly local: Endpoint;
  readonly remote?: Endpoint;
  readonly external?: Endpoint;
}

/** The state of the tunnel. */
export type TunnelState = "connecting" | "connected" | "reconnecting" | "closed";

/** A range of ports at an address outside, on which this tunnel's sockets appear. */
export interface ExternalPorts {
  readonly address: string;
  readonly firstPort: number;
  readonly count: number;
}

/** What the gateway has assigned. */
export interface TunnelLease {
  readonly addresses: readonly string[];
  readonly dns: readonly string[];
  readonly external: readonly ExternalPorts[];
  /** Octets of the largest packet in the tunnel. */
  readonly mtu: number;
  /** Milliseconds for which the session survives without a connection. */
  readonly grace: number;
}

/** Counters since the start of the tunnel, and the latest round-trip time to the gateway. */
export interface TunnelCounters {
  readonly octetsSent: number;
  readonly octetsReceived: number;
  /** Milliseconds; absent before the first measurement. */
  readonly rtt?: number;
}

/** From the engine to the page. */
export type EngineEvent =
  | { event: "opened"; handle: number; opened: Opened }
  | { event: "data"; handle: number; data: Uint8Array<ArrayBuffer>; from?: Endpoint }
  /** The other side has finished sending, and everything before that has been delivered. */
  | { event: "finished"; handle: number }
  /** The stack has taken this many octets. */
  | { event: "sent"; handle: number; amount: number }
  | { event: "incoming"; handle: number; child: number; opened: Opened }
  /** Nothing can be sent any more; what was received is still delivered. */
  | { event: "broken"; handle: number; failure: Failure }
  /** The last word about a handle. */
  | { event: "closed"; handle: number; failure?: Failure }
  | { event: "answer"; call: number; value: unknown }
  | { event: "refusal"; call: number; failure: Failure }
  | { event: "status"; state: TunnelState; lease?: TunnelLease; attempt?: number; retryIn?: number; failure?: Failure }
  | { event: "counters"; counters: TunnelCounters }
  | { event: "trace"; direction: "sent" | "received"; data: ArrayBuffer };

/** What a datagram weighs in the windows of a UDP socket: its octets and a share for the rest. */
export function datagramCost(octets: number): number {
  return octets + 64;
}

/** How the engine is started; the first message to a Worker. */
export interface EngineConfig {
  readonly url: string;
  readonly token?: string;
  /** Compiled module, binary, or where to fetch it. Absent: the file next to the Worker's script. */
  readonly wasm?: WebAssembly.Module | ArrayBuffer | string;
}
