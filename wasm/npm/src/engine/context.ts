/** What the sockets of an engine share. */
import type { Endpoint, IpFamily } from "../address.js";
import type { Failure } from "../errors.js";
import type { Kind } from "./events.js";
import type { EngineEvent } from "../link/protocol.js";
import type { Names } from "./names.js";
import type { Stack } from "./stack.js";

/** Receives the events of one socket of the stack. */
export interface SocketOwner {
  handleEvent(kind: Kind, words: Uint32Array): void;
}

export interface Context {
  readonly stack: Stack;
  readonly names: Names;
  /** Tells the page; the buffer, if any, is given away. */
  emit(event: EngineEvent, transfer?: ArrayBuffer): void;
  /** Events of the stack's socket `id` go to `owner` from now on. */
  own(id: number, owner: SocketOwner): void;
  /** Closes the stack's socket `id` and forgets who owns it. */
  forget(id: number): void;
  /** Carries out an input that comes by another way than the page's channel, and then lets the stack run. */
  enter(action: () => void): void;
  /** Calls `action` after `milliseconds` and then lets the stack run; returns a function that cancels. */
  after(milliseconds: number, action: () => void): () => void;
  /** `poll` is called after every turn of the stack until it returns true. */
  watch(poll: () => boolean): void;
  /** A handle for a connection that a listener has accepted. */
  newHandle(): number;
  /** The page's handle names this socket. */
  register(handle: number, socket: EngineSocket): void;
  /** Tells the page that the handle has ended, and forgets it. */
  retire(handle: number, failure?: Failure): void;
}

/** A socket of the page, as the engine keeps it. */
export interface EngineSocket {
  credit(amount: number): void;
  /** Sends what the stack takes of `octets` at once, and returns how much. */
  offer?(octets: Uint8Array): number;
  send(data: ArrayBuffer, to: Endpoint | undefined, family: IpFamily | undefined): void;
  shutdown(): void;
  discard(): void;
  close(abort: boolean): void;
}
