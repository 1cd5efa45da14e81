/** One TCP connection in the engine: moves octets between the page's windows and the stack's buffers. */
import { failure, type Failure } from "../errors.js";
import type { Endpoint } from "../address.js";
import { failureOf } from "./codes.js";
import { Connector, type Connected, type Destination } from "./connector.js";
import type { Context, EngineSocket, SocketOwner } from "./context.js";
import { endpointsAt, Kind, word } from "./events.js";

/** A connection that a listener has accepted and the page has not yet taken over. */
export interface Accepted {
  readonly id: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

export class TcpFlow implements EngineSocket, SocketOwner {
  readonly #context: Context;
  readonly #handle: number;
  #connector: Connector | undefined;
  #id: number | undefined;
  #credit: number;
  #queue: ArrayBuffer[] = [];
  #offset = 0;
  #reading: "deliver" | "discard" | "done" = "deliver";
  #writing: "open" | "ending" | "done" = "open";
  /** The stack has said that both directions are over, and why. */
  #closed: { readonly failure?: Failure } | undefined;
  /** A split connection is not there yet. */
  #opening = false;
  #lingering = false;
  #retired = false;

  constructor(context: Context, handle: number, credit: number) {
    this.#context = context;
    this.#handle = handle;
    this.#credit = credit;
    context.register(handle, this);
  }

  /** Starts to connect; `split`: by a socket of the gateway's, if it can be. */
  connect(destination: Destination, split: boolean): void {
    // The gateway asks for addresses of both families.
    const id = this.#context.stack.connectSplit(destination.host, destination.port, split && destination.family === undefined);
    if (id !== undefined) return this.#split(id);
    this.#connector = new Connector(this.#context, destination, (outcome) => {
      this.#connector = undefined;
      if ("failure" in outcome) return this.#retire(outcome.failure);
      const { local, remote } = outcome.value;
      this.#context.emit({ event: "opened", handle: this.#handle, opened: { local, remote } });
      this.adopt(outcome.value);
    });
    this.#connector.start();
  }

  /** What is sent before the connection is there travels with the request. */
  #split(id: number): void {
    if (id < 0) return this.#retire(failureOf(id));
    this.#id = id;
    this.#opening = true;
    this.#context.own(id, this);
  }

  /** Goes on with a socket of the stack that is connected. */
  adopt({ id }: Connected | Accepted): void {
    this.#id = id;
    this.#context.own(id, this);
    this.#send();
    this.#receive();
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    switch (kind) {
      case Kind.TcpConnected:
        this.#opening = false;
        this.#context.emit({ event: "opened", handle: this.#handle, opened: endpointsAt(words, 1) });
        return this.#receive();
      case Kind.TcpReadable:
        return this.#receive();
      case Kind.TcpWritable:
        return this.#send();
      case Kind.TcpConnectFailed:
        if (this.#opening) return this.#retire(failureOf(word(words, 1)));
        return this.#end(word(words, 1));
      case Kind.TcpClosed:
        return this.#end(word(words, 1));
    }
  }

  credit(amount: number): void {
    this.#credit += amount;
    this.#receive();
  }

  offer(octets: Uint8Array): number {
    if (this.#id === undefined || this.#writing !== "open" || this.#queue.length > 0) return 0;
    // A failure shows with what is sent in the ordinary way.
    return Math.max(0, this.#context.stack.send(this.#id, octets, 0));
  }

  send(data: ArrayBuffer): void {
    if (this.#writing !== "open") return;
    this.#queue.push(data);
    this.#send();
  }

  shutdown(): void {
    if (this.#writing !== "open") return;
    this.#writing = "ending";
    this.#send();
  }

  discard(): void {
    if (this.#reading === "deliver") this.#reading = "discard";
    this.#receive();
    this.#settle();
  }

  close(abort: boolean): void {
    if (this.#connector !== undefined || this.#id === undefined || this.#opening) {
      this.#connector?.cancel();
      this.#connector = undefined;
      return this.#retire(failure("ECONNABORTED"));
    }
    if (abort) {
      this.#context.stack.abort(this.#id);
      return this.#retire();
    }
    this.shutdown();
    this.discard();
  }

  #send(): void {
    if (this.#id === undefined) return;
    let taken = 0;
    for (let data = this.#queue[0]; data !== undefined; data = this.#queue[0]) {
      const result = this.#context.stack.send(this.#id, data, this.#offset);
      if (result < 0) {
        this.#queue = [];
        this.#break(failureOf(result));
        break;
      }
      taken += result;
      this.#offset += result;
      if (this.#offset < data.byteLength) break;
      this.#queue.shift();
      this.#offset = 0;
    }
    if (taken > 0) this.#context.emit({ event: "sent", handle: this.#handle, amount: taken });
    if (this.#writing === "ending" && this.#queue.length === 0) {
      this.#writing = "done";
      this.#context.stack.shutdown(this.#id);
      this.#settle();
    }
  }

  /** Sending is over because of a failure; receiving goes on until the stack has nothing left. */
  #break(cause: Failure): void {
    if (this.#writing === "done") return;
    this.#writing = "done";
    this.#context.emit({ event: "broken", handle: this.#handle, failure: cause });
  }

  #receive(): void {
    const { stack } = this.#context;
    if (this.#opening) return;
    while (this.#id !== undefined && this.#reading !== "done") {
      if (this.#reading === "deliver" && this.#credit <= 0) return;
      const result = this.#reading === "discard" ? stack.drain(this.#id) : stack.receive(this.#id, this.#credit);
      if (result === "empty") return;
      if (result === "finished") {
        this.#reading = "done";
        this.#context.emit({ event: "finished", handle: this.#handle });
      } else if (result instanceof Uint8Array) {
        this.#credit -= result.byteLength;
        this.#context.emit({ event: "data", handle: this.#handle, data: result }, result.buffer);
      } else {
        this.#reading = "done";
        this.#closed ??= { failure: failureOf(result.code) };
      }
    }
    this.#settle();
  }

  #end(code: number): void {
    this.#closed = code === 0 ? {} : { failure: failureOf(code) };
    if (this.#closed.failure !== undefined) this.#break(this.#closed.failure);
    this.#receive();
    this.#settle();
  }

  /** Retires the handle once nothing is left to be done for it. */
  #settle(): void {
    if (this.#retired || this.#id === undefined) return;
    if (this.#closed !== undefined && this.#reading !== "deliver") {
      this.#retire(this.#closed.failure);
    } else if (this.#reading === "discard" && this.#writing === "done" && !this.#lingering) {
      this.#lingering = true;
      this.#linger(this.#id);
    }
  }

  /** Nobody reads or writes any more: the socket is kept until the other side has acknowledged all that was sent. */
  #linger(id: number): void {
    this.#context.watch(() => {
      if (!this.#retired && this.#context.stack.unsent(id) > 0) return false;
      this.#retire();
      return true;
    });
  }

  #retire(cause?: Failure): void {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#id !== undefined) this.#context.forget(this.#id);
    this.#id = undefined;
    this.#queue = [];
    this.#context.retire(this.#handle, cause);
  }
}
