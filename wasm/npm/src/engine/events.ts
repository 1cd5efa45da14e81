/** Decodes a batch of events of the WebAssembly stack (`wasm/src/encode.rs`). */
import { formatAddress, type Endpoint } from "../address.js";
import type { ExternalPorts, TunnelLease, TunnelState } from "../link/protocol.js";

const ADDRESS_WORDS = 5;
const ENDPOINT_WORDS = 6;

/** The kinds of events, as `encode.rs` numbers them. Those of an Ethernet segment name their link first. */
export enum Kind {
  OpenTransport = 1,
  CloseTransport = 2,
  Status = 3,
  TcpConnected = 4,
  TcpConnectFailed = 5,
  TcpReadable = 6,
  TcpWritable = 7,
  TcpIncoming = 8,
  TcpClosed = 9,
  UdpReadable = 10,
  UdpWritable = 11,
  UdpError = 12,
  Pong = 13,
  PingFailed = 14,
  Resolved = 15,
  PortMapped = 16,
  LinkRemoved = 17,
  GuestLease = 18,
}

/** One event: its kind and the words that belong to it. */
export interface StackEvent {
  readonly kind: Kind;
  readonly words: Uint32Array;
}

/** The word at `index`; 0 beyond the end. */
export function word(words: Uint32Array, index: number): number {
  return words[index] ?? 0;
}

/** The address that begins at `at`. */
export function addressAt(words: Uint32Array, at: number): string {
  return formatAddress(word(words, at), words.subarray(at + 1, at + ADDRESS_WORDS));
}

/** The endpoint that begins at `at`, or `undefined` where the words end before it. */
export function endpointAt(words: Uint32Array, at: number): Endpoint | undefined {
  if (words.length < at + ENDPOINT_WORDS) return undefined;
  return { address: addressAt(words, at), port: word(words, at + ADDRESS_WORDS) };
}

/** The two endpoints (local, remote) that begin at `at`. */
export function endpointsAt(words: Uint32Array, at: number): { local: Endpoint; remote: Endpoint } {
  const none = { address: "", port: 0 };
  return { local: endpointAt(words, at) ?? none, remote: endpointAt(words, at + ENDPOINT_WORDS) ?? none };
}

/** `count` addresses that begin at `at`. */
export function addressesAt(words: Uint32Array, at: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => addressAt(words, at + index * ADDRESS_WORDS));
}

/** Splits a batch into events. The words are views: use them before the next call into the stack, or copy. */
export function* eventsOf(batch: Uint32Array): Generator<StackEvent> {
  let at = 0;
  while (at + 2 <= batch.length) {
    const length = word(batch, at + 1);
    yield { kind: word(batch, at), words: batch.subarray(at + 2, at + 2 + length) };
    at += 2 + length;
  }
}

const STATES: readonly TunnelState[] = ["connecting", "connected", "reconnecting", "closed"];

/** What a `Status` event says. */
export interface StatusWords {
  readonly state: TunnelState;
  readonly attempt: number;
  /** Milliseconds. */
  readonly retryIn: number;
  /** Why the session is over; 0 for a graceful end. */
  readonly code: number;
}

/** Decodes a `Status` event. */
export function statusOf(words: Uint32Array): StatusWords {
  const state = STATES[word(words, 0)] ?? "closed";
  return { state, attempt: word(words, 1), retryIn: word(words, 2), code: word(words, 3) };
}

/** Decodes what `lease()` of the stack gave. */
export function leaseOf(words: Uint32Array): TunnelLease | undefined {
  if (words.length === 0) return undefined;
  let at = 2;
  const list = (): string[] => {
    const count = word(words, at);
    const addresses = addressesAt(words, at + 1, count);
    at += 1 + count * ADDRESS_WORDS;
    return addresses;
  };
  const addresses = list();
  const dns = list();
  const external: ExternalPorts[] = [];
  const blocks = word(words, at);
  for (at += 1; external.length < blocks; at += ADDRESS_WORDS + 2) {
    const firstPort = word(words, at + ADDRESS_WORDS);
    external.push({ address: addressAt(words, at), firstPort, count: word(words, at + ADDRESS_WORDS + 1) });
  }
  return { addresses, dns, external, mtu: word(words, 0), grace: word(words, 1) };
}
