/** A TCP connection of a program: octets between its rings and the stack's buffers. */
import { unspecifiedFor, type Endpoint } from "../address.js";
import { failureOf } from "../engine/codes.js";
import { endpointsAt, Kind, word } from "../engine/events.js";
import { putEndpoint } from "./endpoints.js";
import { State, Word, type StreamTuning } from "./layout.js";
import type { Shared } from "./ring.js";
import { breakWith, type Owner, type ProgramSocket } from "./socket.js";

/** Octets of room below which a ring is left alone until the program has read more: small copies cost too much. */
const WORTHWHILE = 16 * 1024;

export class ProgramTcp implements ProgramSocket {
  readonly shared: Shared;
  readonly #owner: Owner;
  readonly #handle: number;
  #id: number | undefined;
  /** The connection counts as made for the program, and is not yet. */
  #opening = false;
  #finished = false;
  #hopLimit = 0;
  #closing = false;
  /** What was in the program's ring when it closed the socket; its memory is its own again. */
  #rest: Uint8Array = new Uint8Array(0);

  constructor(owner: Owner, handle: number, shared: Shared) {
    this.#owner = owner;
    this.#handle = handle;
    this.shared = shared;
  }

  connect(remote: Endpoint, { fastOpen, ...tuning }: StreamTuning): void {
    const { stack } = this.#owner.context;
    this.#hopLimit = this.shared.get(Word.HopLimit);
    const split = stack.connectSplit(remote.address, remote.port, fastOpen || this.#owner.split);
    const id = split ?? stack.connect(remote, { ...tuning, hopLimit: this.#hopLimit });
    if (id < 0) return this.#fail(id);
    this.#own(id);
    // What the program sends at once travels with the request; a refusal is told to what it does next.
    this.#opening = fastOpen && split !== undefined;
    if (this.#opening) this.#established(unspecifiedFor(remote), remote);
  }

  /** What a listener has taken has the listener's hop limit already. */
  adopt(id: number, local: Endpoint, remote: Endpoint): void {
    this.#hopLimit = this.shared.get(Word.HopLimit);
    this.#own(id);
    this.#established(local, remote);
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    switch (kind) {
      case Kind.TcpConnected: {
        const { local, remote } = endpointsAt(words, 1);
        this.#opening = false;
        return this.#established(local, remote);
      }
      case Kind.TcpReadable:
      case Kind.TcpWritable:
        return this.pump();
      case Kind.TcpConnectFailed:
      case Kind.TcpClosed:
        return this.#closed(word(words, 1));
    }
  }

  pump(): void {
    if (this.#id === undefined) return;
    const hopLimit = this.shared.get(Word.HopLimit);
    if (hopLimit !== this.#hopLimit) {
      this.#hopLimit = hopLimit;
      this.#owner.context.stack.setHopLimit(this.#id, hopLimit);
    }
    this.#send();
    this.#receive();
  }

  close(abort: boolean): void {
    const { stack } = this.#owner.context;
    if (this.#id !== undefined && abort) stack.abort(this.#id);
    const connected = this.shared.get(Word.State) === State.Connected && !abort;
    if (connected && this.#id !== undefined) {
      this.#rest = new Uint8Array(this.shared.tx.readable);
      this.shared.tx.read(this.#rest);
    }
    this.#closing = true;
    this.shared.set(Word.Released, 1);
    this.#flush();
  }

  #own(id: number): void {
    this.#id = id;
    this.#owner.context.own(id, this);
  }

  #established(local: Endpoint, remote: Endpoint): void {
    if (this.#closing) return;
    putEndpoint(this.shared.words, Word.Local, local);
    putEndpoint(this.shared.words, Word.Remote, remote);
    this.shared.set(Word.State, State.Connected);
    this.#owner.changed();
    this.pump();
  }

  #send(): void {
    if (this.#closing) return this.#flush();
    const shared = this.shared;
    if (this.#id === undefined || shared.get(Word.State) !== State.Connected || this.#finished) return;
    for (let span = shared.tx.span(); span.length > 0; span = shared.tx.span()) {
      const taken = this.#owner.context.stack.send(this.#id, span, 0);
      if (taken <= 0) {
        if (taken < 0) this.#fail(taken);
        return;
      }
      shared.tx.skip(taken);
      this.#owner.changed();
    }
    if (shared.get(Word.TxFin) === 1 && shared.tx.readable === 0) {
      this.#finished = true;
      this.#owner.context.stack.shutdown(this.#id);
    }
  }

  /** After close(): sends the rest, and then leaves the connection to the stack, which ends it. */
  #flush(): void {
    if (this.#id !== undefined && this.#rest.length > 0) {
      const taken = this.#owner.context.stack.send(this.#id, this.#rest, 0);
      this.#rest = taken < 0 ? new Uint8Array(0) : this.#rest.subarray(taken);
      if (this.#rest.length > 0) return;
    }
    if (this.#id !== undefined) this.#owner.context.forget(this.#id);
    this.#id = undefined;
    this.#owner.forget(this.#handle);
  }

  #receive(): void {
    const shared = this.shared;
    if (shared.get(Word.State) !== State.Connected || this.#opening) return;
    while (this.#id !== undefined && !this.#closing && shared.get(Word.RxEnd) === 0) {
      const room = shared.rx.writable;
      if (room < WORTHWHILE) return shared.set(Word.RxStalled, 1);
      const result = this.#owner.context.stack.receive(this.#id, room);
      if (result === "empty") return;
      if (result instanceof Uint8Array) shared.rx.write(result);
      else if (result === "finished") shared.set(Word.RxEnd, 1);
      else breakWith(shared, failureOf(result.code));
      this.#owner.changed();
    }
  }

  /** What was received before the end is still the program's: the stack tells the failure once more behind it. */
  #closed(code: number): void {
    if (this.#closing) {
      this.#rest = new Uint8Array(0);
      return this.#flush();
    }
    this.#receive();
    if (code !== 0 && this.shared.get(Word.RxStalled) === 0) return this.#fail(code);
    this.shared.set(Word.TxEnd, 1);
    this.#owner.changed();
  }

  #fail(code: number): void {
    if (this.#closing) return;
    breakWith(this.shared, failureOf(code));
    this.#owner.changed();
  }
}
