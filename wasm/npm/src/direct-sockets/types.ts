/**
 * The Direct Sockets interface of the WICG, as types (https://wicg.github.io/direct-sockets/), with the external ports
 * that webtun adds.
 */
import type { IpFamily } from "../address.js";

/** Which family a name is resolved to; without it both are raced (RFC 8305). */
export type SocketDnsQueryType = IpFamily;

/** Options that all sockets have. */
export interface SocketOptions {
  /** Octets; not 0. */
  sendBufferSize?: number | undefined;
  /** Octets; not 0. */
  receiveBufferSize?: number | undefined;
}

/** Options of a {@link TCPSocket}. */
export interface TCPSocketOptions extends SocketOptions {
  /** True switches Nagle's algorithm off. */
  noDelay?: boolean | undefined;
  /** Milliseconds of silence before keep-alive segments are sent; at least 1000. */
  keepAliveDelay?: number | undefined;
  dnsQueryType?: SocketDnsQueryType | undefined;
  /**
   * True lets the gateway make the connection with a socket of its own, where it does that: loss behind the gateway is met by
   * its kernel. Without it the connection is end to end.
   */
  split?: boolean | undefined;
}

/** What a {@link TCPSocket} has once it is open. */
export interface TCPSocketOpenInfo {
  /** A byte stream: `getReader({ mode: "byob" })` works. */
  readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  writable: WritableStream<BufferSource>;
  remoteAddress: string;
  remotePort: number;
  localAddress: string;
  localPort: number;
}

/** A TCP connection. */
export interface TCPSocket {
  /** Resolves when the connection is established; rejects with a `NetworkError` where it cannot be. */
  readonly opened: Promise<TCPSocketOpenInfo>;
  /** Resolves when both directions have ended; rejects with a `NetworkError` where the connection broke. */
  readonly closed: Promise<undefined>;
  /** Ends the connection. Rejects with an `InvalidStateError` before `opened`, or while a stream is locked. */
  close(): Promise<undefined>;
}

export interface TCPSocketConstructor {
  readonly prototype: TCPSocket;
  /**
   * Connects to a name or address.
   *
   * @throws TypeError where an option is out of range
   *
   * @example
   * const socket = new net.TCPSocket("echo.example", 7, { noDelay: true });
   * const { readable, writable } = await socket.opened;
   */
  new (remoteAddress: string, remotePort: number, options?: TCPSocketOptions): TCPSocket;
}

/** An external port that leads to this socket. Not part of Direct Sockets. */
export interface ExternalOptions {
  /** The wanted port; 0 or absent for any. */
  port?: number | undefined;
  /** Seconds for which the gateway keeps the port after the tunnel is lost; renewed while the socket is open. */
  lifetime?: number | undefined;
  /** Of which family the external address is; the default is that of the local address, IPv4 for `::`. */
  family?: IpFamily | undefined;
}

/** Options of a {@link TCPServerSocket}. */
export interface TCPServerSocketOptions {
  /** Not 0; absent for any. */
  localPort?: number | undefined;
  /** Connections that may wait; not 0. */
  backlog?: number | undefined;
  /** Only with `::`. */
  ipv6Only?: boolean | undefined;
  /** Asks the gateway for an external port; `true` for any. */
  external?: ExternalOptions | boolean | undefined;
}

/** What a {@link TCPServerSocket} has once it is open. */
export interface TCPServerSocketOpenInfo {
  readable: ReadableStream<TCPSocket>;
  localAddress: string;
  localPort: number;
  /** Where the outside reaches this socket; only with `external`. */
  externalAddress?: string;
  externalPort?: number;
}

/** A listening TCP socket. */
export interface TCPServerSocket {
  readonly opened: Promise<TCPServerSocketOpenInfo>;
  readonly closed: Promise<undefined>;
  /** Stops to listen. Rejects with an `InvalidStateError` before `opened`, or while `readable` is locked. */
  close(): Promise<undefined>;
}

export interface TCPServerSocketConstructor {
  readonly prototype: TCPServerSocket;
  /**
   * Listens on an address of the tunnel; `0.0.0.0` and `::` are all of them.
   *
   * @throws TypeError where an option is out of range
   *
   * @example
   * const server = new net.TCPServerSocket("0.0.0.0", { external: { port: 8080 } });
   * const { readable, externalAddress, externalPort } = await server.opened;
   * for await (const socket of readable) serve(socket);
   */
  new (localAddress: string, options?: TCPServerSocketOptions): TCPServerSocket;
}

/** Options of a {@link UDPSocket}: either a remote or a local address. */
export interface UDPSocketOptions extends SocketOptions {
  remoteAddress?: string | undefined;
  remotePort?: number | undefined;
  localAddress?: string | undefined;
  /** Not 0; absent for any. Only with `localAddress`. */
  localPort?: number | undefined;
  /** Only with `remoteAddress`. */
  dnsQueryType?: SocketDnsQueryType | undefined;
  /** Only with `localAddress: "::"`. */
  ipv6Only?: boolean | undefined;
  /** Asks the gateway for an external port; only with `localAddress`. */
  external?: ExternalOptions | boolean | undefined;
}

/** A datagram. In a connected socket the address is absent. */
export interface UDPMessage<Data extends BufferSource = BufferSource> {
  data: Data;
  remoteAddress?: string | undefined;
  remotePort?: number | undefined;
  /** When `remoteAddress` is a name. */
  dnsQueryType?: SocketDnsQueryType | undefined;
}

/** What a {@link UDPSocket} has once it is open. */
export interface UDPSocketOpenInfo {
  readable: ReadableStream<UDPMessage<Uint8Array<ArrayBuffer>>>;
  writable: WritableStream<UDPMessage>;
  remoteAddress?: string;
  remotePort?: number;
  localAddress: string;
  localPort: number;
  externalAddress?: string;
  externalPort?: number;
}

/** A UDP socket. */
export interface UDPSocket {
  readonly opened: Promise<UDPSocketOpenInfo>;
  readonly closed: Promise<undefined>;
  /** Rejects with an `InvalidStateError` before `opened`, or while a stream is locked. */
  close(): Promise<undefined>;
}

export interface UDPSocketConstructor {
  readonly prototype: UDPSocket;
  /**
   * A connected socket where `remoteAddress` is given, a bound one where `localAddress` is.
   *
   * @throws TypeError where options are missing, out of range or contradict each other
   *
   * @example
   * const socket = new net.UDPSocket({ remoteAddress: "192.0.2.53", remotePort: 53 });
   * const { readable, writable } = await socket.opened;
   * await writable.getWriter().write({ data: query });
   * const { value } = await readable.getReader().read();
   */
  new (options: UDPSocketOptions): UDPSocket;
}
