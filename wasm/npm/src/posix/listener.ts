/** A listening socket of a program. One connection is held ready for poll() to tell; the rest waits in the stack. */
import type { Endpoint } from "../address.js";
import { failureOf } from "../engine/codes.js";
import { mapExternal } from "../engine/external.js";
import { Kind, word } from "../engine/events.js";
import { errnoOf } from "./errno.js";
import { putEndpoint } from "./endpoints.js";
import { REPLY_OK, Word } from "./layout.js";
import type { Shared } from "./ring.js";
import type { Owner, ProgramSocket } from "./socket.js";

interface Waiting {
  readonly id: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** Seconds for which a port outside is asked for at a time; the stack renews it. */
const LIFETIME = 600;

export class ProgramListener implements ProgramSocket {
  readonly shared: Shared;
  readonly #owner: Owner;
  readonly #handle: number;
  #id: number | undefined;
  #next: Waiting | undefined;
  #hopLimit = 0;
  #unmap: () => void = () => {};

  constructor(owner: Owner, handle: number, shared: Shared) {
    this.#owner = owner;
    this.#handle = handle;
    this.shared = shared;
  }

  /** {@link REPLY_OK} or an errno. */
  listen(local: Endpoint, backlog: number, ipv6Only: boolean): number {
    const { context } = this.#owner;
    const id = context.stack.listen(local, backlog, ipv6Only);
    if (id < 0) return errnoOf(failureOf(id).code);
    this.#id = id;
    this.#limitHops();
    context.own(id, this);
    putEndpoint(this.shared.words, Word.Local, context.stack.localAddress(id) ?? local);
    return REPLY_OK;
  }

  /** Asks for the port of this number outside; where it is refused or another is given, nobody comes by it. */
  mapOut(ipv6Only: boolean): void {
    const { context } = this.#owner;
    const local = this.#id === undefined ? undefined : context.stack.localAddress(this.#id);
    if (local === undefined || /^127\.|^::1$/.test(local.address)) return;
    const family = ipv6Only ? "ipv6" : "ipv4";
    this.#unmap = mapExternal(context, 6, local, { port: local.port, lifetime: LIFETIME, family }, () => {});
  }

  /** The connection that is ready, which is the caller's from now on. */
  take(): Waiting | undefined {
    const taken = this.#next;
    this.#next = undefined;
    this.pump();
    return taken;
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    if (kind === Kind.TcpIncoming) this.pump();
    else if (kind === Kind.TcpClosed && word(words, 1) !== 0) {
      this.shared.set(Word.Error, errnoOf(failureOf(word(words, 1)).code));
      this.#owner.changed();
    }
  }

  pump(): void {
    this.#limitHops();
    if (this.#id !== undefined) this.#next ??= this.#owner.context.stack.accept(this.#id);
    this.shared.set(Word.Incoming, this.#next === undefined ? 0 : 1);
    if (this.#next !== undefined) this.#owner.changed();
  }

  #limitHops(): void {
    const hopLimit = this.shared.get(Word.HopLimit);
    if (hopLimit === this.#hopLimit || this.#id === undefined) return;
    this.#hopLimit = hopLimit;
    this.#owner.context.stack.setHopLimit(this.#id, hopLimit);
  }

  close(): void {
    const { context } = this.#owner;
    if (this.#next !== undefined) {
      context.stack.abort(this.#next.id);
      context.forget(this.#next.id);
    }
    if (this.#id !== undefined) context.forget(this.#id);
    this.#id = undefined;
    this.#next = undefined;
    this.#unmap();
    this.shared.set(Word.Released, 1);
    this.#owner.forget(this.#handle);
  }
}
