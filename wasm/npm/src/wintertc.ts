/** The socket shape of the WinterTC Sockets API (`connect()` as in Cloudflare Workers, and as Pyodide wants it). */
import { formatEndpoint } from "./address.js";
import { handled } from "./deferred.js";
import { remoteHost, remotePort } from "./direct-sockets/options.js";
import type { Link } from "./link/link.js";
import { TcpConnection } from "./tcp-connection.js";

/** Where to connect to; as text, `host:port`. */
export interface SocketAddress {
  hostname: string;
  port: number;
}

export interface ConnectSocketOptions {
  /** Only `"off"` and `"starttls"` are accepted, and the latter without `startTls()`: TLS is up to the program. */
  secureTransport?: "off" | "on" | "starttls" | undefined;
  /** True keeps the writable side open after the other side has finished. */
  allowHalfOpen?: boolean | undefined;
}

export interface SocketInfo {
  remoteAddress: string;
  localAddress: string;
}

/** A connection in the WinterTC shape. */
export interface Socket {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<BufferSource>;
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<undefined>;
  readonly upgraded: boolean;
  readonly secureTransport: "off" | "starttls";
  /** Ends the connection, whether or not its streams are locked. */
  close(): Promise<undefined>;
  /** @throws DOMException `NotSupportedError`: there is no TLS here */
  startTls(): Socket;
}

function parseAddress(address: SocketAddress | string): SocketAddress {
  if (typeof address !== "string") return address;
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address);
  if (match === null) throw new TypeError(`"${address}" is not of the form host:port`);
  return { hostname: match[1] ?? match[2] ?? "", port: Number(match[3]) };
}

function noTls(): DOMException {
  return new DOMException("webtun carries octets only; bring a TLS implementation of your own", "NotSupportedError");
}

class WinterSocket implements Socket {
  readonly #connection: TcpConnection;
  readonly opened: Promise<SocketInfo>;
  readonly upgraded = false;
  readonly secureTransport: "off" | "starttls";

  constructor(connection: TcpConnection, options: ConnectSocketOptions) {
    this.#connection = connection;
    this.secureTransport = options.secureTransport === "starttls" ? "starttls" : "off";
    this.opened = handled(
      connection.opened.then(({ local, remote }) => ({
        remoteAddress: remote === undefined ? "" : formatEndpoint(remote),
        localAddress: formatEndpoint(local),
      })),
    );
    if (!options.allowHalfOpen) connection.onfinished = () => connection.sender.finish();
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#connection.receiver.readable;
  }

  get writable(): WritableStream<BufferSource> {
    return this.#connection.sender.writable;
  }

  get closed(): Promise<undefined> {
    return this.#connection.closed;
  }

  async close(): Promise<undefined> {
    this.#connection.close();
    return this.closed;
  }

  startTls(): Socket {
    throw noTls();
  }
}

/** Connects; the streams can be used at once, before the connection is established. */
export function connectSocket(link: Link, address: SocketAddress | string, options: ConnectSocketOptions = {}): Socket {
  if (options.secureTransport === "on") throw noTls();
  const { hostname, port } = parseAddress(address);
  const request = { host: remoteHost(hostname), port: remotePort(port), tuning: {} };
  return new WinterSocket(TcpConnection.open(link, request), options);
}
