/**
 * The memory that a program and the engine share. Both sides are little-endian 32-bit words; positions are indexes of
 * words. Counters of the rings run freely and wrap at 2^32.
 *
 * The program never waits inside a call of the engine: it waits for the word {@link Control.Event} to change and then
 * looks again. The engine never waits at all.
 */

/** Memory that both sides see; within one thread it need not be shared. */
export type SharedMemory = SharedArrayBuffer | ArrayBuffer;

/** Words of the memory that belongs to the program as a whole. */
export enum Control {
  /** Incremented by the engine, and notified, whenever anything has changed. */
  Event = 0,
  /** Set by the program to 1, and notified, when it has left something to be done. */
  Kick = 1,
  /** 1 where the engine cannot wait for `Kick` (no `Atomics.waitAsync`): an empty message has to be posted instead. */
  KickByMessage = 2,
  /** The answer to a call: 0 while there is none, {@link REPLY_OK}, or an errno. */
  Reply = 3,
  /** The errno with which everything fails once the tunnel is gone; 0 while it works. */
  Down = 4,
  /** How many addresses the answer has. */
  Count = 5,
  /** The port that the answer has. */
  Port = 6,
  /** How many sockets the program has ever put into the list at {@link Control.Ready}, modulo 2^32. */
  ReadyHead = 7,
  /** How many of them the engine has taken out. */
  ReadyTail = 8,
  /** Set by the program to 1 where the list was full: the engine has to look at every socket. */
  ReadyOverflow = 9,
  /** Addresses of an answer. */
  Addresses = 16,
  /** Identifiers of the sockets whose rings the program has touched; each stands there once ({@link Word.Ready}). */
  Ready = 256,
}

/** An answer that is no failure; no errno is as large. */
export const REPLY_OK = 0x10000;

/** Words of an endpoint: family (0, 4 or 6), port, and four words of address in the order of its octets. */
export const ENDPOINT_WORDS = 6;

/** Addresses that an answer can have; further ones are left out. */
export const MAX_ADDRESSES = 32;

/** Sockets that the list of those to be looked at holds; a power of two. Beyond that the engine looks at all. */
export const MAX_READY = 1024;

/** Octets of the control memory. */
export const CONTROL_SIZE = 4 * (Control.Ready + MAX_READY);

/** Words of the memory of one socket. */
export enum Word {
  RxHead = 0,
  RxTail = 1,
  TxHead = 2,
  TxTail = 3,
  /** A {@link State}. */
  State = 4,
  /** The pending error (SO_ERROR), an errno. */
  Error = 5,
  /** 1: nothing more will be received. */
  RxEnd = 6,
  /** 1: nothing more can be sent. */
  TxEnd = 7,
  /** Set by the program: after what is in the ring comes FIN. */
  TxFin = 8,
  /** Set by the engine: it has more than the ring could take and waits for a kick. */
  RxStalled = 9,
  /** 1: a listener has a connection to give. */
  Incoming = 10,
  /** 1: the engine has let go of this memory. */
  Released = 11,
  /** 1: stands in the list of sockets to be looked at; set by the program, cleared by the engine before it looks. */
  Ready = 12,
  /** Set by the program: TTL or hop limit of a connection, or of those that a listener takes; 0 for the default. */
  HopLimit = 13,
  Local = 16,
  Remote = 22,
}

/** What has become of connecting. */
export enum State {
  Idle = 0,
  Connecting = 1,
  Connected = 2,
  Failed = 3,
}

/** Octets of the words. */
export const HEADER_SIZE = 128;

/** Octets of the ring from the engine to the program; a power of two. */
const RX_SIZE = 256 * 1024;

/** As much for a connection, while there are few: so the engine goes on while the program reads a message of the tunnel. */
const LARGE_RX_SIZE = 1024 * 1024;

/** Octets of the ring from the program to the engine; a power of two, and room for the largest datagram. */
export const TX_SIZE = 128 * 1024;

/** Where the rings begin; that of what is received goes to the end of the memory. */
export const TX_AT = HEADER_SIZE;
export const RX_AT = TX_AT + TX_SIZE;

/** Octets of the memory of one socket. */
export const SOCKET_SIZE = RX_AT + RX_SIZE;
export const LARGE_SOCKET_SIZE = RX_AT + LARGE_RX_SIZE;

/** Sockets that one program may have open; one more is refused with EMFILE. */
export const MAX_SOCKETS = 1024;

/** What a program asks of the engine, by messages on its port. */
export type Request =
  | { op: "connect"; id: number; memory: SharedMemory; address: string; port: number; tuning: StreamTuning }
  | { op: "probe"; address: string; port: number; ipv6Only: boolean }
  | { op: "listen"; id: number; memory: SharedMemory; address: string; port: number; ipv6Only: boolean;
      backlog: number }
  | { op: "accept"; listener: number; id: number; memory: SharedMemory }
  /** With `echo` the datagrams are ICMP echo requests and replies, from their type on. */
  | { op: "udp"; id: number; memory: SharedMemory; address: string; port: number; ipv6Only: boolean;
      receiveBuffer: number; echo: boolean }
  | { op: "udp-connect"; id: number; address: string; port: number }
  | { op: "close"; id: number; abort: boolean }
  | { op: "resolve"; name: string; family: 0 | 4 | 6 }
  /** Threads of the program wait for the word at this octet of their memory: it is to be changed with the event word. */
  | { op: "word"; memory: SharedArrayBuffer; at: number }
  | { op: "kick" };

/** Options that have to be known before a connection is made. */
export interface StreamTuning {
  /** The connection may be the gateway's, and counts as made when it is asked for. */
  readonly fastOpen: boolean;
  readonly noDelay: boolean;
  /** Milliseconds, 0 for none. */
  readonly keepAliveDelay: number;
  /** Octets, 0 for the default. */
  readonly receiveBufferSize: number;
  /** Octets, 0 for the default. */
  readonly sendBufferSize: number;
}

/** The way between a program and the engine: a MessagePort, or within one thread a plain pair of objects. */
export interface ProgramPort {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
  addEventListener(type: "close", listener: () => void): void;
  start(): void;
  close(): void;
}

/** What a program is given before it starts. */
export interface Attachment {
  readonly control: SharedMemory;
  readonly port: ProgramPort;
  /** The engine is in the program's thread: memory is not shared, and messages tell of changes. */
  readonly local?: boolean;
  /** The ports at which the program listens are to be reached from outside. */
  readonly external?: boolean;
  /** Connections outwards are the gateway's, where it makes them. */
  readonly split?: boolean;
}
