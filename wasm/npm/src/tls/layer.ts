/** TLS as a part that a program brings along: the entries of the package know it by this interface alone. */
import type { TlsParameters } from "./options.js";

/** Octets both ways. */
export interface StreamPair {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<BufferSource>;
}

/** What the handshake has found out. */
export interface TlsInfo {
  /** The protocol that the server chose; empty where none was offered, or chosen. */
  readonly alpn: string;
}

/** Plain text both ways; the streams can be used at once and wait for the handshake. */
export interface SecureStreams {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<BufferSource>;
  /** Resolves when the server's certificate is checked and keys are agreed on. */
  readonly handshake: Promise<TlsInfo>;
}

/** Made by `webtun/tls`, for the option `tls` of `connect`. */
export interface TlsLayer {
  /** Begins a handshake over `transport`, whose streams stay locked. */
  secure(transport: StreamPair, parameters: TlsParameters): SecureStreams;
}
