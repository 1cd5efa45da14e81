/** `TCPServerSocket` of Direct Sockets. */
import { formatEndpoint } from "../address.js";
import { Deferred } from "../deferred.js";
import { failure, toException, type Failure } from "../errors.js";
import type { HandleEvent, Link } from "../link/link.js";
import type { Opened } from "../link/protocol.js";
import { TcpConnection } from "../tcp-connection.js";
import { closeStreams } from "./close.js";
import { serverOptions } from "./options.js";
import type { TCPSocketClass } from "./tcp-socket.js";
import type {
  TCPServerSocket,
  TCPServerSocketConstructor,
  TCPServerSocketOpenInfo,
  TCPServerSocketOptions,
  TCPSocket,
} from "./types.js";

/** A listener of the page: one connection is asked for whenever the stream is read. */
class Acceptor {
  readonly readable: ReadableStream<TCPSocket>;
  readonly #link: Link;
  readonly #handle: number;
  readonly #adopt: (connection: TcpConnection) => TCPSocket;
  readonly #context: string;
  readonly #opened = new Deferred<Opened>();
  readonly #closed = new Deferred<undefined>();
  #controller!: ReadableStreamDefaultController<TCPSocket>;
  #wanted: (() => void) | undefined;
  state: "opening" | "open" | "closed" = "opening";

  constructor(link: Link, adopt: (connection: TcpConnection) => TCPSocket, settings: ReturnType<typeof serverOptions>) {
    this.#link = link;
    this.#handle = link.newHandle();
    this.#adopt = adopt;
    this.#context = `listen on ${formatEndpoint(settings.local)}`;
    this.readable = new ReadableStream<TCPSocket>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pull(),
        cancel: () => {
          this.#release();
          link.post({ op: "close", handle: this.#handle, abort: false });
        },
      },
      { highWaterMark: 0 },
    );
    link.register(this.#handle, (event) => this.#handleEvent(event));
    link.post({ op: "listen", handle: this.#handle, ...settings });
  }

  get opened(): Promise<Opened> {
    return this.#opened.promise;
  }

  get closed(): Promise<undefined> {
    return this.#closed.promise;
  }

  #pull(): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = resolve;
      this.#link.post({ op: "credit", handle: this.#handle, amount: 1 });
    });
  }

  #handleEvent(event: HandleEvent): void {
    switch (event.event) {
      case "opened":
        this.state = "open";
        return this.#opened.resolve(event.opened);
      case "incoming":
        return this.#incoming(event.child, event.opened);
      case "closed":
        return this.#end(event.failure);
    }
  }

  #incoming(child: number, opened: Opened): void {
    if (this.#wanted === undefined) return this.#link.post({ op: "close", handle: child, abort: true });
    this.#controller.enqueue(this.#adopt(TcpConnection.adopt(this.#link, child, opened)));
    this.#release();
  }

  #end(cause: Failure | undefined): void {
    const error = cause && toException(cause, this.#context);
    if (this.state === "opening") this.#opened.reject(error ?? toException(failure("ECONNABORTED"), this.#context));
    this.state = "closed";
    if (error !== undefined) {
      this.#controller.error(error);
      this.#closed.reject(error);
    } else {
      // A cancelled stream is closed already, and says so by throwing.
      try {
        this.#controller.close();
      } catch {}
      this.#closed.resolve(undefined);
    }
    this.#release();
  }

  #release(): void {
    this.#wanted?.();
    this.#wanted = undefined;
  }
}

/** Makes the class whose sockets go through `link`; accepted connections are of class `sockets`. */
export function defineTCPServerSocket(link: Link, sockets: TCPSocketClass): TCPServerSocketConstructor {
  class TCPServerSocketImpl implements TCPServerSocket {
    readonly #acceptor: Acceptor;
    readonly #opened = new Deferred<TCPServerSocketOpenInfo>();

    constructor(localAddress: string, options?: TCPServerSocketOptions) {
      this.#acceptor = new Acceptor(link, sockets.adopt, serverOptions(localAddress, options));
      this.#acceptor.opened.then(({ local, external }) => {
        this.#opened.resolve({
          readable: this.#acceptor.readable,
          localAddress: local.address,
          localPort: local.port,
          ...(external && { externalAddress: external.address, externalPort: external.port }),
        });
      }, this.#opened.reject);
    }

    get [Symbol.toStringTag](): string {
      return "TCPServerSocket";
    }

    get opened(): Promise<TCPServerSocketOpenInfo> {
      return this.#opened.promise;
    }

    get closed(): Promise<undefined> {
      return this.#acceptor.closed;
    }

    close(): Promise<undefined> {
      return closeStreams(this.#acceptor, this.#acceptor.readable);
    }
  }
  Object.defineProperty(TCPServerSocketImpl, "name", { value: "TCPServerSocket" });
  return TCPServerSocketImpl;
}
