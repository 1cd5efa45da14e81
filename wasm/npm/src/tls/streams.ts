/** A pair of streams over another: plain text here, TLS there. Reading is by demand, so the TCP window holds the peer back. */
import { Deferred } from "../deferred.js";
import { asFailure, failure, toException } from "../errors.js";
import { octetsOf } from "../streams.js";
import type { Session } from "./engine.js";
import type { SecureStreams, StreamPair, TlsInfo } from "./layer.js";
import type { TlsParameters } from "./options.js";

/** Octets that are encrypted at once: what waits for the transport is at most this much and the records around it. */
const PIECE = 256 * 1024;

/** Opens a session; the WebAssembly may still be on its way. */
export type OpenSession = (parameters: TlsParameters) => Promise<Session>;

/** The two directions of one connection. */
export class TlsStreams implements SecureStreams {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<BufferSource>;
  readonly #handshake = new Deferred<TlsInfo>();
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<BufferSource>;
  readonly #context: string;
  #session: Session | undefined;
  /** Plain text that came with the end of the handshake. */
  #early: Uint8Array<ArrayBuffer>[] = [];
  #sink!: WritableStreamDefaultController;

  constructor(open: OpenSession, transport: StreamPair, parameters: TlsParameters) {
    this.#context = `TLS with ${parameters.name}`;
    this.#reader = transport.readable.getReader();
    this.#writer = transport.writable.getWriter();
    for (const promise of [this.#writer.closed, this.#reader.closed]) promise.catch(() => {});
    this.readable = new ReadableStream({
      type: "bytes",
      pull: (controller) => this.#pull(controller),
      cancel: (reason) => this.#reader.cancel(reason),
    });
    this.writable = new WritableStream<BufferSource>({
      start: (controller) => {
        this.#sink = controller;
      },
      write: (chunk) => this.#write(octetsOf(chunk)),
      close: () => this.#close(),
      abort: (reason) => this.#writer.abort(reason),
    });
    this.#shake(open, parameters).then(this.#handshake.resolve, (error: unknown) => this.#break(error));
  }

  get handshake(): Promise<TlsInfo> {
    return this.#handshake.promise;
  }

  async #shake(open: OpenSession, parameters: TlsParameters): Promise<TlsInfo> {
    const session = await open(parameters).catch((error: unknown) => {
      throw toException(asFailure(error), this.#context);
    });
    this.#session = session;
    while (session.handshaking) {
      await this.#flush(session);
      const octets = await this.#receive(session);
      if (octets.byteLength > 0) this.#early.push(octets);
      this.#check(session);
    }
    await this.#flush(session);
    return { alpn: session.protocol };
  }

  /** The next plain text, which may be none. */
  async #receive(session: Session): Promise<Uint8Array<ArrayBuffer>> {
    const { value, done } = await this.#reader.read();
    if (!done) return session.receive(value);
    session.end();
    return new Uint8Array(0);
  }

  /** Sends what the session has; resolves when the transport takes more. */
  async #flush(session: Session): Promise<void> {
    const octets = session.outgoing();
    if (octets === undefined) return;
    // A write that fails shows in `ready` and in the next one.
    this.#writer.write(octets).then(() => session.sent(octets), () => {});
    await this.#writer.ready;
  }

  #check(session: Session): void {
    const error = session.failure(this.#context);
    if (error !== undefined) throw error;
  }

  async #pull(controller: ReadableByteStreamController): Promise<void> {
    await this.#handshake.promise;
    const session = this.#session;
    if (session === undefined) return;
    try {
      let octets = this.#early.shift();
      while (octets === undefined || octets.byteLength === 0) {
        this.#check(session);
        if (session.finished) return this.#finish(controller);
        octets = await this.#receive(session);
        // Nobody needs to wait until the other side has an answer to its key update.
        this.#flush(session).catch(() => {});
      }
      controller.enqueue(octets);
    } catch (error) {
      this.#break(error);
      throw error;
    }
  }

  #finish(controller: ReadableByteStreamController): void {
    controller.close();
    controller.byobRequest?.respond(0);
    this.#reader.cancel().catch(() => {});
  }

  async #write(octets: Uint8Array): Promise<void> {
    await this.#handshake.promise;
    const session = this.#session;
    for (let at = 0; session !== undefined && at < octets.byteLength; at += PIECE) {
      session.write(octets.subarray(at, at + PIECE));
      this.#check(session);
      await this.#flush(session);
    }
  }

  async #close(): Promise<void> {
    await this.#handshake.promise;
    if (this.#session !== undefined) {
      this.#session.finish();
      await this.#flush(this.#session);
    }
    await this.#writer.close();
  }

  /** Ends everything: the alert that says why is the last that is sent. */
  #break(error: unknown): void {
    const reason = error ?? toException(failure("ECONNABORTED"), this.#context);
    const last = this.#session?.outgoing();
    if (last !== undefined) this.#writer.write(last).catch(() => {});
    this.#writer.close().catch(() => {});
    this.#reader.cancel(reason).catch(() => {});
    this.#sink.error(reason);
    this.#handshake.reject(reason);
  }
}
