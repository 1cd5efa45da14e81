/** `TCPSocket` of Direct Sockets. */
import { handled } from "../deferred.js";
import type { Link } from "../link/link.js";
import { TcpConnection } from "../tcp-connection.js";
import { closeStreams } from "./close.js";
import { remoteHost, remotePort, tcpOptions } from "./options.js";
import type { TCPSocket, TCPSocketConstructor, TCPSocketOpenInfo, TCPSocketOptions } from "./types.js";

/** The class of one tunnel, and the way to it for connections that a listener accepts. */
export interface TCPSocketClass {
  readonly TCPSocket: TCPSocketConstructor;
  adopt(connection: TcpConnection): TCPSocket;
}

async function openInfo(connection: TcpConnection): Promise<TCPSocketOpenInfo> {
  const { local, remote } = await connection.opened;
  return {
    readable: connection.receiver.readable,
    writable: connection.sender.writable,
    remoteAddress: remote?.address ?? "",
    remotePort: remote?.port ?? 0,
    localAddress: local.address,
    localPort: local.port,
  };
}

/** Makes the class whose sockets go through `link`. */
export function defineTCPSocket(link: Link): TCPSocketClass {
  class TCPSocketImpl implements TCPSocket {
    readonly #connection: TcpConnection;
    readonly #opened: Promise<TCPSocketOpenInfo>;

    constructor(remoteAddress: string | TcpConnection, port: number, options?: TCPSocketOptions) {
      if (remoteAddress instanceof TcpConnection) {
        this.#connection = remoteAddress;
      } else {
        if (port === undefined) throw new TypeError("TCPSocket needs a remote address and a remote port");
        const request = { host: remoteHost(remoteAddress), port: remotePort(port), ...tcpOptions(options) };
        this.#connection = TcpConnection.open(link, request);
      }
      this.#opened = handled(openInfo(this.#connection));
    }

    get [Symbol.toStringTag](): string {
      return "TCPSocket";
    }

    get opened(): Promise<TCPSocketOpenInfo> {
      return this.#opened;
    }

    get closed(): Promise<undefined> {
      return this.#connection.closed;
    }

    close(): Promise<undefined> {
      const { receiver, sender } = this.#connection;
      return closeStreams(this.#connection, receiver.readable, sender.writable);
    }
  }
  Object.defineProperty(TCPSocketImpl, "name", { value: "TCPSocket" });
  return { TCPSocket: TCPSocketImpl, adopt: (connection) => new TCPSocketImpl(connection, 0) };
}
