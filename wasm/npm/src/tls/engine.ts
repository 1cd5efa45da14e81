/** The WebAssembly part of TLS with its memory: copies in and out happen here and nowhere else. */
import { initSync, TlsConfig, TlsSession, type InitOutput } from "../../generated/webtun_tls.js";
import { toException, type ErrorCode } from "../errors.js";
import { SpareMemory } from "../spare-memory.js";
import type { TlsParameters } from "./options.js";

/** Combinations of roots and protocols that are kept, with the sessions that can be resumed. */
const MAX_CONFIGS = 16;

/** One module, and what its connections share. */
export class TlsEngine {
  readonly memory: WebAssembly.Memory;
  readonly #configs = new Map<string, TlsConfig>();

  constructor(module: WebAssembly.Module) {
    const exports: InitOutput = initSync({ module });
    this.memory = exports.memory;
  }

  /** @throws Error where the roots are no certificates, or `name` is none that a certificate can have */
  open({ name, alpn, roots }: TlsParameters): Session {
    return new Session(this.memory, new TlsSession(this.#config(roots, alpn.join("\n")), name, Date.now()));
  }

  #config(roots: string, protocols: string): TlsConfig {
    const key = `${protocols}\n\n${roots}`;
    const known = this.#configs.get(key);
    const config = known ?? new TlsConfig(roots, protocols);
    // The one that was used last goes to the end; the first is the one to forget.
    this.#configs.delete(key);
    this.#configs.set(key, config);
    const [oldest] = this.#configs.keys();
    if (this.#configs.size > MAX_CONFIGS && oldest !== undefined) {
      this.#configs.get(oldest)?.free();
      this.#configs.delete(oldest);
    }
    return config;
  }
}

/** One connection. After any call, send what {@link Session.outgoing} gives. */
export class Session {
  readonly #memory: WebAssembly.Memory;
  readonly #inner: TlsSession;
  readonly #received = new SpareMemory();
  readonly #sent = new SpareMemory();

  constructor(memory: WebAssembly.Memory, inner: TlsSession) {
    this.#memory = memory;
    this.#inner = inner;
  }

  #put(octets: Uint8Array): number {
    const at = this.#inner.input(octets.byteLength);
    new Uint8Array(this.#memory.buffer, at, octets.byteLength).set(octets);
    return octets.byteLength;
  }

  #copy(length: number, into: SpareMemory): Uint8Array<ArrayBuffer> {
    return into.copy(new Uint8Array(this.#memory.buffer, this.#inner.pointer(), length));
  }

  /**
   * Octets from the other side; returns their plain text, which may be none. It takes over the octets' buffer, which is
   * nobody else's: the plain text may lie in it.
   */
  receive(octets: Uint8Array): Uint8Array<ArrayBuffer> {
    const length = this.#inner.handle_data(this.#put(octets), Date.now());
    this.#received.keep(octets);
    return this.#copy(length, this.#received);
  }

  /** Nothing more comes from the other side. */
  end(): void {
    this.#inner.handle_end();
  }

  /** Plain text to send. */
  write(octets: Uint8Array): void {
    this.#inner.write(this.#put(octets));
  }

  /** Nothing more will be written. */
  finish(): void {
    this.#inner.finish();
  }

  /** Octets for the other side, or `undefined` for none. */
  outgoing(): Uint8Array<ArrayBuffer> | undefined {
    const length = this.#inner.poll_transmit();
    return length === 0 ? undefined : this.#copy(length, this.#sent);
  }

  /** Nobody needs what {@link outgoing} gave any more. */
  sent(octets: Uint8Array): void {
    this.#sent.keep(octets);
  }

  get handshaking(): boolean {
    return this.#inner.is_handshaking();
  }

  /** Whether the other side has said that it sends nothing more. */
  get finished(): boolean {
    return this.#inner.is_finished();
  }

  get protocol(): string {
    return this.#inner.protocol();
  }

  /** Why the connection failed, as a program sees it. */
  failure(context: string): DOMException | undefined {
    const code = this.#inner.failure_code();
    if (code === "") return undefined;
    return toException({ code: code as ErrorCode, message: this.#inner.failure_message() }, context);
  }
}
