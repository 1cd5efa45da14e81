/**
 * The page's end of the conversation with the engine: batches what is said in one tick, hands events to the socket they
 * belong to, and matches answers to calls.
 */
import { failure, toException, type Failure } from "../errors.js";
import type { Command, EngineEvent } from "./protocol.js";

/** Carries batches: a Worker, or the engine in place. */
export interface Channel {
  post(commands: Command[], transfer: Transferable[]): void;
  /** Sends as much of `octets` as a connection takes at once, and says how much; only where the engine is in this thread. */
  offer?(handle: number, octets: Uint8Array): number;
  /** Set by the {@link Link}. */
  onevents: (events: EngineEvent[]) => void;
  /** Set by the {@link Link}: the engine is gone and will not answer any more. */
  onfailure: (failure: Failure) => void;
  /** Frees the Worker. */
  terminate(): void;
}

/** Events that name a handle. */
export type HandleEvent = Extract<EngineEvent, { handle: number }>;

/** Events about the tunnel as a whole. */
export type TunnelEvent = Exclude<EngineEvent, { handle: number } | { call: number }>;

/** A command that is answered, without the number that {@link Link.call} adds. */
export type Call = Extract<Command, { call: number }> extends infer C ? (C extends Command ? Omit<C, "call"> : never) : never;

interface Pending {
  resolve(value: unknown): void;
  reject(failure: Failure): void;
}

export class Link {
  readonly #channel: Channel;
  readonly #handlers = new Map<number, (event: HandleEvent) => void>();
  readonly #calls = new Map<number, Pending>();
  #batch: Command[] = [];
  #transfer: Transferable[] = [];
  #nextHandle = 2;
  #nextCall = 1;
  #dead: Failure | undefined;

  /** Receives what concerns the whole tunnel. */
  ontunnel: (event: TunnelEvent) => void = () => {};

  constructor(channel: Channel) {
    this.#channel = channel;
    channel.onevents = (events) => {
      for (const event of events) this.#dispatch(event);
    };
    channel.onfailure = (cause) => this.fail(cause);
  }

  /** Why nothing can be done on this link any more, or `undefined` while it works. */
  get dead(): Failure | undefined {
    return this.#dead;
  }

  /** A handle for a socket that the page opens. */
  newHandle(): number {
    const handle = this.#nextHandle;
    this.#nextHandle += 2;
    return handle;
  }

  /** Events of `handle` go to `handler` until its `closed` event has been delivered. */
  register(handle: number, handler: (event: HandleEvent) => void): void {
    this.#handlers.set(handle, handler);
    const dead = this.#dead;
    if (dead !== undefined) queueMicrotask(() => this.#dispatch({ event: "closed", handle, failure: dead }));
  }

  /** Says one thing to the engine; `transfer` names the buffer or port in it, which the caller gives away. */
  post(command: Command, transfer?: Transferable): void {
    if (this.#dead !== undefined) return;
    if (this.#batch.length === 0) queueMicrotask(() => this.#flush());
    this.#batch.push(command);
    if (transfer !== undefined) this.#transfer.push(transfer);
  }

  /** Whether {@link offer} can take anything. */
  get takesOffers(): boolean {
    return this.#channel.offer !== undefined;
  }

  /**
   * Sends as much of `octets` as can be without a copy of them, and returns how much. What was said before is carried out
   * before.
   */
  offer(handle: number, octets: Uint8Array): number {
    if (this.#dead !== undefined || this.#channel.offer === undefined) return 0;
    this.#flush();
    return this.#channel.offer(handle, octets);
  }

  /** Asks and waits. Rejects with a {@link Failure}, which the caller turns into an exception with its own context. */
  call<T>(command: Call): Promise<T> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    const call = this.#nextCall++;
    return new Promise<T>((resolve, reject) => {
      this.#calls.set(call, { resolve: resolve as (value: unknown) => void, reject });
      this.post({ ...command, call } as Command);
    });
  }

  /** Ends all that waits: the engine is gone. */
  fail(cause: Failure): void {
    if (this.#dead !== undefined) return;
    this.#dead = cause;
    this.#batch = [];
    this.#transfer = [];
    for (const handle of [...this.#handlers.keys()]) this.#dispatch({ event: "closed", handle, failure: cause });
    for (const pending of this.#calls.values()) pending.reject(cause);
    this.#calls.clear();
    this.ontunnel({ event: "status", state: "closed", failure: cause });
    this.#channel.terminate();
  }

  #flush(): void {
    if (this.#dead !== undefined || this.#batch.length === 0) return;
    const batch = this.#batch;
    const transfer = this.#transfer;
    this.#batch = [];
    this.#transfer = [];
    this.#channel.post(batch, transfer);
  }

  #dispatch(event: EngineEvent): void {
    if ("handle" in event) {
      const handler = this.#handlers.get(event.handle);
      if (event.event === "closed") this.#handlers.delete(event.handle);
      if (handler !== undefined) handler(event);
      else if (event.event === "incoming") this.post({ op: "close", handle: event.child, abort: true });
    } else if ("call" in event) {
      const pending = this.#calls.get(event.call);
      this.#calls.delete(event.call);
      if (event.event === "answer") pending?.resolve(event.value);
      else pending?.reject(event.failure);
    } else if (event.event === "status" && event.state === "closed") {
      this.fail(event.failure ?? closedByOwner());
    } else {
      this.ontunnel(event);
    }
  }
}

/** The failure of a tunnel that its owner has closed. */
export function closedByOwner(): Failure {
  return failure("ENETDOWN", "the tunnel was closed by net.close()");
}

/** Rethrows a {@link Failure} of {@link Link.call} as the exception that a program sees. */
export function rethrow(context: string): (cause: Failure) => never {
  return (cause) => {
    throw toException(cause, context);
  };
}
