/** A UDP socket of a program. */
import { literalFamily, type Endpoint } from "../address.js";
import { failureOf } from "../engine/codes.js";
import { Kind, word } from "../engine/events.js";
import type { ReceivedDatagram } from "../engine/stack.js";
import { copyDatagram, dropDatagram, firstDatagram, putDatagram, recordSize } from "./datagram.js";
import { putEndpoint } from "./endpoints.js";
import { errnoOf } from "./errno.js";
import { REPLY_OK, Word } from "./layout.js";
import type { Shared } from "./ring.js";
import type { Owner, ProgramSocket } from "./socket.js";

export class ProgramUdp implements ProgramSocket {
  readonly #owner: Owner;
  readonly #handle: number;
  readonly #shared: Shared;
  #id: number | undefined;
  #connected = false;
  /** Taken from the stack in one batch, and not yet in the ring. */
  #pending: ReceivedDatagram[] = [];

  constructor(owner: Owner, handle: number, shared: Shared) {
    this.#owner = owner;
    this.#handle = handle;
    this.#shared = shared;
  }

  /** {@link REPLY_OK} or an errno. */
  bind(local: Endpoint, ipv6Only: boolean, receiveBuffer: number): number {
    const { context } = this.#owner;
    const id = context.stack.bind(local, ipv6Only, receiveBuffer);
    if (id < 0) return errnoOf(failureOf(id).code);
    this.#id = id;
    context.own(id, this);
    putEndpoint(this.#shared.words, Word.Local, context.stack.localAddress(id) ?? local);
    return REPLY_OK;
  }

  /** {@link REPLY_OK} or an errno. */
  connect(remote: Endpoint): number {
    const { stack } = this.#owner.context;
    if (this.#id === undefined) return errnoOf("EINVAL");
    const code = stack.connectUdp(this.#id, remote);
    if (code < 0) return errnoOf(failureOf(code).code);
    this.#connected = true;
    const family = literalFamily(remote.address);
    const loopback = /^127\.|^::1$/.test(remote.address) ? remote.address : undefined;
    const own = loopback ?? stack.lease()?.addresses.find((address) => literalFamily(address) === family);
    const port = stack.localAddress(this.#id)?.port ?? 0;
    if (own !== undefined) putEndpoint(this.#shared.words, Word.Local, { address: own, port });
    putEndpoint(this.#shared.words, Word.Remote, remote);
    return REPLY_OK;
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    if (kind !== Kind.UdpError) return this.pump();
    const { code } = failureOf(word(words, 1));
    // An ICMP error means one peer of several: only a connected socket hears of it (RFC 1122 section 4.1.3.3, Linux).
    if (!this.#connected && code !== "ENETDOWN" && code !== "EACCES") return;
    this.#shared.set(Word.Error, errnoOf(code));
    this.#owner.changed();
  }

  pump(): void {
    this.#send();
    this.#receive();
  }

  close(): void {
    this.#send();
    if (this.#id !== undefined) this.#owner.context.forget(this.#id);
    this.#id = undefined;
    this.#pending = [];
    this.#shared.set(Word.Released, 1);
    this.#owner.forget(this.#handle);
  }

  #send(): void {
    const { tx } = this.#shared;
    for (let first = firstDatagram(tx); first !== undefined && this.#id !== undefined; first = firstDatagram(tx)) {
      const data = new Uint8Array(first.length);
      copyDatagram(tx, data);
      const result = this.#owner.context.stack.sendTo(this.#id, data.buffer, first.peer);
      if (result === 0) return;
      dropDatagram(tx, first.length);
      if (result < 0) this.#shared.set(Word.Error, errnoOf(failureOf(result).code));
      this.#owner.changed();
    }
  }

  #receive(): void {
    const { rx } = this.#shared;
    while (this.#id !== undefined) {
      const head = this.#pending[0];
      if (head === undefined) {
        this.#pending = this.#owner.context.stack.receiveFrom(this.#id, Math.max(rx.writable, 1));
        if (this.#pending.length === 0) return;
      } else if (rx.writable < recordSize(head.data.byteLength)) {
        return this.#shared.set(Word.RxStalled, 1);
      } else {
        putDatagram(rx, new Uint8Array(head.data), head.from);
        this.#pending.shift();
        this.#owner.changed();
      }
    }
  }
}
