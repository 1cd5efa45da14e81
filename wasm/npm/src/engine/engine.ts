/**
 * The engine: the stack, its WebSocket, its timers and the page's sockets. The same code runs in a Worker, in place and
 * in Node.
 *
 * Every input (a message, a timer, a batch of commands) is followed by its events, which go to the sockets, and by a turn:
 * what the stack wants to send goes to the WebSocket, until nothing is left. After a turn that has sent something the next one
 * waits until the inputs that are there already have had their task: so whoever is alone is served at once, and of many the
 * acknowledgements, and what there is to send, go together in few long messages. The turn of commands waits for the microtasks
 * in which the page says more: its datagrams go together, and the end of a connection with the beginning of the next.
 */
import { Alarm } from "./alarm.js";
import { failure, wordsOf, type Failure } from "../errors.js";
import type { EnginePort } from "../link/local-channel.js";
import type { Command, EngineEvent } from "../link/protocol.js";
import { endOf } from "./codes.js";
import type { Context, EngineSocket, SocketOwner } from "./context.js";
import { execute } from "./commands.js";
import { eventsOf, Kind, statusOf, word } from "./events.js";
import { afterMicrotasks, later } from "./later.js";
import { Meter } from "./meter.js";
import { Names } from "./names.js";
import type { Stack } from "./stack.js";
import { SUBPROTOCOL, Transport, type WebSocketFactory } from "./transport.js";

/** Milliseconds between two looks at a WebSocket that takes no more: browsers have no event for it. */
const DRAIN_INTERVAL = 4;

export interface EngineOptions {
  readonly url: string;
  readonly token: string | undefined;
  readonly stack: Stack;
  readonly openWebSocket: WebSocketFactory;
}

export class Engine implements EnginePort, Context {
  readonly stack: Stack;
  readonly names: Names;
  readonly #options: EngineOptions;
  readonly #sockets = new Map<number, EngineSocket>();
  readonly #owners = new Map<number, SocketOwner>();
  #watches: (() => boolean)[] = [];
  #outbox: EngineEvent[] = [];
  #transfer: ArrayBuffer[] = [];
  #transport: Transport | undefined;
  readonly #alarm: Alarm;
  /** A task is under way, before which there is no other turn. */
  #resting = false;
  /** What came meanwhile wants one. */
  #wanted = false;
  #meter: Meter | undefined;
  #nextHandle = 1;
  #everConnected = false;
  #tracing = false;
  #stopped = false;

  onevents: (events: EngineEvent[], transfer: ArrayBuffer[]) => void = () => {};

  constructor(options: EngineOptions) {
    this.#options = options;
    this.stack = options.stack;
    this.names = new Names(options.stack);
    this.#alarm = new Alarm(() => this.#run(() => this.stack.timeout()));
  }

  /** Opens the tunnel. */
  start(): void {
    this.#run(() => {});
  }

  handleCommands(commands: Command[]): void {
    this.#run(() => {
      for (const command of commands) execute(this, command);
    }, true);
  }

  offer(handle: number, octets: Uint8Array): number {
    let taken = 0;
    this.#run(() => {
      taken = this.#sockets.get(handle)?.offer?.(octets) ?? 0;
    });
    return taken;
  }

  /** The network is back: the next attempt to connect need not wait. */
  online(): void {
    this.#run(() => this.stack.reconnectNow());
  }

  /** Frees timers and the WebSocket at once. */
  stop(): void {
    this.#stopped = true;
    this.#alarm.stop();
    this.#meter?.stop();
    this.#transport?.close();
  }

  emit(event: EngineEvent, transfer?: ArrayBuffer): void {
    this.#outbox.push(event);
    if (transfer !== undefined) this.#transfer.push(transfer);
  }

  own(id: number, owner: SocketOwner): void {
    this.#owners.set(id, owner);
  }

  forget(id: number): void {
    this.#owners.delete(id);
    this.stack.forget(id);
  }

  enter(action: () => void): void {
    this.#run(action);
  }

  after(milliseconds: number, action: () => void): () => void {
    const timer = setTimeout(() => this.#run(action), milliseconds);
    return () => clearTimeout(timer);
  }

  watch(poll: () => boolean): void {
    this.#watches.push(poll);
  }

  newHandle(): number {
    const handle = this.#nextHandle;
    this.#nextHandle += 2;
    return handle;
  }

  register(handle: number, socket: EngineSocket): void {
    this.#sockets.set(handle, socket);
  }

  retire(handle: number, cause?: Failure): void {
    this.#sockets.delete(handle);
    this.emit({ event: "closed", handle, ...(cause && { failure: cause }) });
  }

  socket(handle: number): EngineSocket | undefined {
    return this.#sockets.get(handle);
  }

  trace(on: boolean): void {
    this.#tracing = on;
  }

  /** `followed`: whoever has given this input probably gives another one when his promises are kept. */
  #run(input: () => void, followed = false): void {
    this.#guard(() => {
      input();
      while (this.#events());
      if (followed && !this.#resting) this.#rest(afterMicrotasks);
      if (this.#resting) this.#wanted = true;
      else this.#turn();
    });
  }

  #turn(): void {
    let sent = false;
    // Sending also carries what the host says to itself: events may follow although no message has left.
    do sent = this.#transmit() || sent;
    while (!this.#stopped && this.#events());
    if (this.#stopped) return;
    this.#schedule();
    this.#flush();
    if (sent) this.#rest(later);
  }

  #rest(until: typeof later): void {
    this.#resting = true;
    until(() => this.#rested());
  }

  #rested(): void {
    this.#resting = false;
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#guard(() => this.#turn());
  }

  #guard(work: () => void): void {
    if (this.#stopped) return;
    try {
      work();
    } catch (error) {
      this.#end(failure("EIO", `the network stack failed: ${wordsOf(error)}`));
    }
    if (this.#stopped) this.#flush();
  }

  /** Hands out what has happened; false where nothing has. */
  #events(): boolean {
    const batch = this.stack.pollEvents();
    for (const { kind, words } of eventsOf(batch)) this.#handleEvent(kind, words);
    const watched = this.#watches.length;
    if (watched > 0) this.#watches = this.#watches.filter((poll) => !poll());
    return batch.length > 0 || this.#watches.length < watched;
  }

  /** Whether it has sent anything. */
  #transmit(): boolean {
    let sent = false;
    while (this.#transport?.writable) {
      const message = this.stack.pollTransmit();
      if (message === undefined) break;
      if (this.#tracing) this.#traceMessage("sent", message);
      this.#transport.send(message);
      sent = true;
    }
    return sent;
  }

  #schedule(): void {
    const blocked = this.#transport?.open && !this.#transport.writable;
    this.#alarm.set(Math.min(this.stack.pollTimeout(), blocked ? DRAIN_INTERVAL : Infinity));
  }

  #flush(): void {
    if (this.#outbox.length === 0) return;
    const events = this.#outbox;
    const transfer = this.#transfer;
    this.#outbox = [];
    this.#transfer = [];
    this.onevents(events, transfer);
  }

  #handleEvent(kind: Kind, words: Uint32Array): void {
    switch (kind) {
      case Kind.OpenTransport:
        return this.#connect();
      case Kind.CloseTransport:
        this.#transmit();
        this.#transport?.close();
        this.#transport = undefined;
        return;
      case Kind.Status:
        return this.#status(words);
      default:
        if (!this.names.handleEvent(kind, words)) this.#owners.get(word(words, 0))?.handleEvent(kind, words);
    }
  }

  #connect(): void {
    this.#transport?.close();
    const { url, token, openWebSocket } = this.#options;
    const protocols = token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${token}`];
    this.#transport = new Transport(openWebSocket, url, protocols, {
      onopen: () => this.#run(() => this.stack.connected()),
      onmessage: (data) =>
        this.#run(() => {
          if (this.#tracing) this.#traceMessage("received", new Uint8Array(data));
          this.stack.message(data);
        }),
      onclose: (cause) => this.#run(() => this.#disconnected(cause)),
    });
  }

  /** A tunnel that never worked fails at once: its owner shall learn of a wrong address or token, not wait. */
  #disconnected(cause: Failure): void {
    this.#transport = undefined;
    if (this.#everConnected) this.stack.disconnected();
    else this.#end(cause);
  }

  #status(words: Uint32Array): void {
    const { state, code, attempt, retryIn } = statusOf(words);
    if (state === "closed") return this.#end(endOf(code, this.stack.closeReason()));
    if (state === "connected") {
      this.#everConnected = true;
      this.#meter ??= new Meter(this.stack, (counters) => {
        this.emit({ event: "counters", counters });
        this.#flush();
      });
    }
    const lease = this.stack.lease();
    this.emit({ event: "status", state, ...(lease && { lease }), ...(state === "reconnecting" && { attempt, retryIn }) });
  }

  /** What is still to be sent, the CLOSE of the session above all; a stack that failed has nothing to say. */
  #farewell(): void {
    try {
      this.#transmit();
    } catch {}
  }

  #traceMessage(direction: "sent" | "received", message: Uint8Array<ArrayBuffer>): void {
    const data = message.slice().buffer;
    this.emit({ event: "trace", direction, data }, data);
  }

  #end(cause: Failure): void {
    if (this.#stopped) return;
    this.#farewell();
    this.emit({ event: "status", state: "closed", failure: cause });
    this.stop();
  }
}
