/** A UDP socket of a program, or one for ICMP echo requests. */
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

/** What the stack sends with where nothing else is asked for. */
const DEFAULT_HOP_LIMIT = 64;

interface DatagramOptions {
  readonly ipv6Only: boolean;
  readonly receiveBuffer: number;
  readonly echo: boolean;
}

export class ProgramUdp implements ProgramSocket {
  readonly shared: Shared;
  readonly #owner: Owner;
  readonly #handle: number;
  #id: number | undefined;
  #connected = false;
  #hopLimit = 0;
  /** Taken from the stack in one batch, and not yet in the ring. */
  #pending: ReceivedDatagram[] = [];

  constructor(owner: Owner, handle: number, shared: Shared) {
    this.#owner = owner;
    this.#handle = handle;
    this.shared = shared;
  }

  /** {@link REPLY_OK} or an errno. */
  bind(local: Endpoint, { ipv6Only, receiveBuffer, echo }: DatagramOptions): number {
    const { stack } = this.#owner.context;
    const id = echo ? stack.bindEcho(local, receiveBuffer) : stack.bind(local, ipv6Only, receiveBuffer);
    if (id < 0) return errnoOf(failureOf(id).code);
    this.#id = id;
    this.#owner.context.own(id, this);
    putEndpoint(this.shared.words, Word.Local, stack.localAddress(id) ?? local);
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
    if (own !== undefined) putEndpoint(this.shared.words, Word.Local, { address: own, port });
    putEndpoint(this.shared.words, Word.Remote, remote);
    return REPLY_OK;
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    if (kind !== Kind.UdpError) return this.pump();
    const { code } = failureOf(word(words, 1));
    // An ICMP error means one peer of several: only a connected socket hears of it (RFC 1122 section 4.1.3.3, Linux).
    if (!this.#connected && code !== "ENETDOWN" && code !== "EACCES") return;
    this.shared.set(Word.Error, errnoOf(code));
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
    this.shared.set(Word.Released, 1);
    this.#owner.forget(this.#handle);
  }

  #send(): void {
    const { tx } = this.shared;
    for (let first = firstDatagram(tx); first !== undefined && this.#id !== undefined; first = firstDatagram(tx)) {
      const data = new Uint8Array(first.length);
      copyDatagram(tx, data);
      this.#limitHops(this.#id, first.hopLimit);
      const result = this.#owner.context.stack.sendTo(this.#id, data.buffer, first.peer);
      if (result === 0) return;
      dropDatagram(tx, first.length);
      if (result < 0) this.shared.set(Word.Error, errnoOf(failureOf(result).code));
      this.#owner.changed();
    }
  }

  #limitHops(id: number, hopLimit: number): void {
    if (hopLimit === this.#hopLimit) return;
    this.#hopLimit = hopLimit;
    this.#owner.context.stack.setHopLimit(id, hopLimit || DEFAULT_HOP_LIMIT);
  }

  #receive(): void {
    const { rx } = this.shared;
    while (this.#id !== undefined) {
      const head = this.#pending[0];
      if (head === undefined) {
        this.#pending = this.#owner.context.stack.receiveFrom(this.#id, Math.max(rx.writable, 1));
        if (this.#pending.length === 0) return;
      } else if (rx.writable < recordSize(head.data.byteLength)) {
        return this.shared.set(Word.RxStalled, 1);
      } else {
        putDatagram(rx, new Uint8Array(head.data), head.from);
        this.#pending.shift();
        this.#owner.changed();
      }
    }
  }
}
