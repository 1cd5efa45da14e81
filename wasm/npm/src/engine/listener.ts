/** A listening TCP socket in the engine. Connections wait in the stack's backlog until the page reads them. */
import type { Endpoint } from "../address.js";
import type { Failure } from "../errors.js";
import type { ExternalRequest } from "../link/protocol.js";
import { failureOf } from "./codes.js";
import type { Context, EngineSocket, SocketOwner } from "./context.js";
import { Kind } from "./events.js";
import { mapExternal } from "./external.js";
import { TcpFlow } from "./tcp-flow.js";

export interface ListenRequest {
  readonly local: Endpoint;
  /** 0 for the default. */
  readonly backlog: number;
  readonly ipv6Only: boolean;
  readonly external: ExternalRequest | undefined;
}

export class Listener implements EngineSocket, SocketOwner {
  readonly #context: Context;
  readonly #handle: number;
  #id: number | undefined;
  #credit = 0;
  #unmap: () => void = () => {};
  #retired = false;

  constructor(context: Context, handle: number) {
    this.#context = context;
    this.#handle = handle;
    context.register(handle, this);
  }

  listen({ local, backlog, ipv6Only, external }: ListenRequest): void {
    const id = this.#context.stack.listen(local, backlog, ipv6Only);
    if (id < 0) {
      this.#retired = true;
      return this.#context.retire(this.#handle, failureOf(id));
    }
    this.#id = id;
    this.#context.own(id, this);
    const bound = this.#context.stack.localAddress(id) ?? local;
    this.#unmap = mapExternal(this.#context, 6, bound, external, (outcome) => {
      if (this.#retired) return;
      if ("failure" in outcome) return this.#retire(outcome.failure);
      this.#context.emit({ event: "opened", handle: this.#handle, opened: outcome.value });
    });
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    if (kind === Kind.TcpIncoming) this.#accept();
    else if (kind === Kind.TcpClosed) this.#retire(words[1] ? failureOf(words[1]) : undefined);
  }

  /** The page wants so many connections more. */
  credit(amount: number): void {
    this.#credit += amount;
    this.#accept();
  }

  send(): void {}

  shutdown(): void {}

  discard(): void {
    this.close();
  }

  close(): void {
    this.#retire();
  }

  #accept(): void {
    while (this.#id !== undefined && this.#credit > 0) {
      const accepted = this.#context.stack.accept(this.#id);
      if (accepted === undefined) return;
      this.#credit -= 1;
      const child = this.#context.newHandle();
      const { local, remote } = accepted;
      const flow = new TcpFlow(this.#context, child, 0);
      this.#context.emit({ event: "incoming", handle: this.#handle, child, opened: { local, remote } });
      flow.adopt(accepted);
    }
  }

  #retire(cause?: Failure): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#unmap();
    if (this.#id !== undefined) this.#context.forget(this.#id);
    this.#id = undefined;
    this.#context.retire(this.#handle, cause);
  }
}
