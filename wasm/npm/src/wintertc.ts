/** The socket shape of the WinterTC Sockets API (`connect()` as in Cloudflare Workers, and as Pyodide wants it). */
import { formatEndpoint } from "./address.js";
import { handled } from "./deferred.js";
import { remoteHost, remotePort } from "./direct-sockets/options.js";
import { invalidState } from "./errors.js";
import type { Link } from "./link/link.js";
import type { TcpTuning } from "./link/protocol.js";
import { TcpConnection } from "./tcp-connection.js";
import type { SecureStreams, TlsLayer } from "./tls/layer.js";
import { tlsParameters, type TlsOptions, type TlsParameters } from "./tls/options.js";

/** Where to connect to; as text, `host:port`. */
export interface SocketAddress {
  hostname: string;
  port: number;
}

export interface ConnectSocketOptions extends TlsOptions {
  /** `"on"` for TLS at once, `"starttls"` for TLS by `startTls()`. TLS needs the option `tls` of the tunnel. */
  secureTransport?: "off" | "on" | "starttls" | undefined;
  /**
   * False connects end to end. Otherwise the gateway makes the connection with a socket of its own, unless it is set up not
   * to: what is written at once travels with the request, and loss behind the gateway is met by its kernel.
   */
  split?: boolean | undefined;
  /** True keeps the writable side open after the other side has finished. */
  allowHalfOpen?: boolean | undefined;
}

export interface SocketInfo {
  remoteAddress: string;
  localAddress: string;
  /** The protocol that the server chose; `null` without TLS or without a choice. */
  alpn: string | null;
}

/** A connection in the WinterTC shape. */
export interface Socket {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<BufferSource>;
  /** Resolves when the connection is established; with TLS, when the server's certificate is checked. */
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<undefined>;
  /** True for what `startTls()` has returned. */
  readonly upgraded: boolean;
  readonly secureTransport: "off" | "on" | "starttls";
  /** Ends the connection, whether or not its streams are locked. */
  close(): Promise<undefined>;
  /**
   * Begins TLS on a socket that was opened with `"starttls"`. From then on only the returned socket can be used.
   *
   * @throws DOMException `InvalidStateError` on any other socket, a second time, or while a stream is locked
   * @throws DOMException `NotSupportedError` without the option `tls` of the tunnel
   */
  startTls(options?: TlsOptions): Socket;
}

/** What a tunnel gives its sockets. */
export interface SocketParts {
  readonly link: Link;
  readonly tls: TlsLayer | undefined;
  readonly tuning: TcpTuning;
}

function parseAddress(address: SocketAddress | string): SocketAddress {
  if (typeof address !== "string") return address;
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address);
  if (match === null) throw new TypeError(`"${address}" is not of the form host:port`);
  return { hostname: match[1] ?? match[2] ?? "", port: Number(match[3]) };
}

/** TLS over the connection, or why there is none. */
function secure(tls: TlsLayer | undefined, connection: TcpConnection, parameters: TlsParameters): SecureStreams {
  const { readable } = connection.receiver;
  const { writable } = connection.sender;
  return needTls(tls).secure({ readable, writable }, parameters);
}

function needTls(tls: TlsLayer | undefined): TlsLayer {
  if (tls !== undefined) return tls;
  const words = 'this tunnel has no TLS: import { tls } from "webtun/tls" and give it to connect() as an option';
  throw new DOMException(words, "NotSupportedError");
}

async function socketInfo(connection: TcpConnection, secured: SecureStreams | undefined): Promise<SocketInfo> {
  const { local, remote } = await connection.opened;
  const { alpn = "" } = (await secured?.handshake) ?? {};
  return {
    remoteAddress: remote === undefined ? "" : formatEndpoint(remote),
    localAddress: formatEndpoint(local),
    alpn: alpn === "" ? null : alpn,
  };
}

class WinterSocket implements Socket {
  readonly #connection: TcpConnection;
  readonly #secured: SecureStreams | undefined;
  readonly #startTls: (options: TlsOptions) => Socket;
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<undefined>;

  constructor(
    connection: TcpConnection,
    readonly secureTransport: "off" | "on" | "starttls",
    readonly upgraded: boolean,
    secured: SecureStreams | undefined,
    startTls: (options: TlsOptions) => Socket,
  ) {
    this.#connection = connection;
    this.#secured = secured;
    this.#startTls = startTls;
    this.opened = handled(socketInfo(connection, secured));
    this.closed = handled(this.#end());
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#secured?.readable ?? this.#connection.receiver.readable;
  }

  get writable(): WritableStream<BufferSource> {
    return this.#secured?.writable ?? this.#connection.sender.writable;
  }

  /** A handshake that fails ends the connection, with the reason of the failure. */
  async #end(): Promise<undefined> {
    await this.#secured?.handshake.catch((error: unknown) => {
      this.#connection.close().catch(() => {});
      throw error;
    });
    return this.#connection.closed;
  }

  async close(): Promise<undefined> {
    this.#connection.close();
    return this.closed;
  }

  startTls(options: TlsOptions = {}): Socket {
    if (this.readable.locked || this.writable.locked) {
      throw invalidState("release the locks of both streams before TLS begins, and begin it once");
    }
    return this.#startTls(options);
  }
}

/** Connects; the streams can be used at once, before the connection is established. */
export function connectSocket(
  { link, tls, tuning }: SocketParts,
  address: SocketAddress | string,
  options: ConnectSocketOptions = {},
): Socket {
  const { secureTransport = "off", allowHalfOpen = false, split = true } = options;
  if (!["off", "on", "starttls"].includes(secureTransport)) {
    throw new TypeError('secureTransport must be "off", "on" or "starttls"');
  }
  const { hostname, port } = parseAddress(address);
  const request = { host: remoteHost(hostname), port: remotePort(port), tuning, split };
  const parameters = tlsParameters(request.host, options);
  // Programs that may come to need TLS ask for "starttls", and find out when they do.
  if (secureTransport === "on") needTls(tls);

  const connection = TcpConnection.open(link, request);
  if (!allowHalfOpen) connection.onfinished = () => connection.sender.finish();
  const never = (): never => {
    throw invalidState('only a socket with secureTransport "starttls" can begin TLS, and once');
  };
  if (secureTransport === "off") return new WinterSocket(connection, "off", false, undefined, never);
  if (secureTransport === "on") {
    return new WinterSocket(connection, "on", false, secure(tls, connection, parameters), never);
  }
  const startTls = (later: TlsOptions): Socket => {
    const wanted = tlsParameters(request.host, { ...options, ...later });
    return new WinterSocket(connection, "on", true, secure(tls, connection, wanted), never);
  };
  return new WinterSocket(connection, "starttls", false, undefined, startTls);
}
