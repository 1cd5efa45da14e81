/** The WebAssembly part of HTTP with its memory: copies in and out happen here and nowhere else. */
import { HttpConnection, initSync, type InitOutput } from "../../generated/webtun_http.js";
import type { ErrorCode, Failure } from "../errors.js";
import { SpareMemory } from "../spare-memory.js";

/** What happens to an exchange, numbered as in `exchange.rs`. */
export const enum WireEvent {
  Head = 1,
  Data = 2,
  End = 3,
  Failed = 4,
  Wanted = 5,
}

/** The length of a body that is not known. */
export const UNKNOWN_LENGTH = -2;
/** The length of no body. */
export const NO_BODY = -1;

/** A request as it goes over the network. */
export interface WireRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly length: number;
}

/** A response's head as it came. */
export interface WireHead {
  readonly status: number;
  readonly headers: Headers;
}

/** One module. */
export class HttpEngine {
  readonly #memory: WebAssembly.Memory;

  constructor(module: WebAssembly.Module) {
    const exports: InitOutput = initSync({ module });
    this.#memory = exports.memory;
  }

  open(http2: boolean): Wire {
    return new Wire(this.#memory, new HttpConnection(http2));
  }
}

/** One connection. After any call, send what {@link Wire.outgoing} gives and take the events. */
export class Wire {
  readonly #memory: WebAssembly.Memory;
  readonly #inner: HttpConnection;
  readonly #received = new SpareMemory();
  readonly #sent = new SpareMemory();

  constructor(memory: WebAssembly.Memory, inner: HttpConnection) {
    this.#memory = memory;
    this.#inner = inner;
  }

  #put(octets: Uint8Array): number {
    const at = this.#inner.input(octets.byteLength);
    new Uint8Array(this.#memory.buffer, at, octets.byteLength).set(octets);
    return octets.byteLength;
  }

  #copy(length: number, into: SpareMemory): Uint8Array<ArrayBuffer> | undefined {
    return length === 0 ? undefined : into.copy(new Uint8Array(this.#memory.buffer, this.#inner.pointer(), length));
  }

  /** Takes over the octets' buffer, which is nobody else's: what comes out next may lie in it. */
  receive(octets: Uint8Array): void {
    this.#inner.handle_data(this.#put(octets));
    this.#received.keep(octets);
  }

  end(): void {
    this.#inner.handle_end();
  }

  get wantsData(): boolean {
    return this.#inner.wants_data();
  }

  get ready(): boolean {
    return this.#inner.is_ready();
  }

  get closed(): boolean {
    return this.#inner.is_closed();
  }

  outgoing(): Uint8Array<ArrayBuffer> | undefined {
    return this.#copy(this.#inner.poll_transmit(), this.#sent);
  }

  /** Nobody needs what {@link outgoing} gave any more. */
  sent(octets: Uint8Array): void {
    this.#sent.keep(octets);
  }

  /** @throws Error where the request cannot be put into words of HTTP */
  request({ method, url, headers, length }: WireRequest): number {
    const fields = [...headers].map(([name, value]) => `${name}\n${value}\n`).join("");
    return this.#inner.request(method, url, fields, length);
  }

  sendBody(id: number, octets: Uint8Array): void {
    this.#inner.send_body(id, this.#put(octets));
  }

  finishBody(id: number): void {
    this.#inner.finish_body(id);
  }

  abortBody(id: number): void {
    this.#inner.abort_body(id);
  }

  want(id: number, octets: number): void {
    this.#inner.want(id, octets);
  }

  /** The next event and the exchange that it is about. */
  event(): { id: number; kind: WireEvent } | undefined {
    const event = this.#inner.poll_event();
    return event === 0 ? undefined : { id: event >>> 3, kind: event & 7 };
  }

  head(id: number): WireHead {
    const status = this.#inner.take_status(id);
    const lines = this.#inner.take_fields().split("\n");
    const headers = new Headers();
    for (let at = 0; at + 1 < lines.length; at += 2) headers.append(lines[at] ?? "", lines[at + 1] ?? "");
    return { status, headers };
  }

  chunk(id: number): Uint8Array<ArrayBuffer> | undefined {
    return this.#copy(this.#inner.take_chunk(id), this.#received);
  }

  failure(id: number): Failure {
    const [code = "EIO", message = ""] = this.#inner.failure(id).split("\n", 2);
    return { code: code as ErrorCode, message };
  }

  forget(id: number): void {
    this.#inner.forget(id);
  }

  free(): void {
    this.#inner.free();
  }
}
