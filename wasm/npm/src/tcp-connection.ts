/** One TCP connection as the page holds it; the Direct Sockets and the WinterTC class are both views of it. */
import { Deferred } from "./deferred.js";
import { failure, toException, type Failure } from "./errors.js";
import type { HandleEvent, Link } from "./link/link.js";
import type { Command, Opened } from "./link/protocol.js";
import { ByteReceiver, ByteSender, RECEIVE_WINDOW } from "./streams.js";

/** What to connect to; the rest of a `connect` command is filled in here. */
export type ConnectRequest = Omit<Extract<Command, { op: "connect" }>, "op" | "handle" | "credit">;

/** A TCP connection of the page. */
export class TcpConnection {
  readonly receiver: ByteReceiver;
  readonly sender: ByteSender;
  readonly #link: Link;
  readonly #handle: number;
  readonly #context: string;
  readonly #opened = new Deferred<Opened>();
  readonly #closed = new Deferred<undefined>();
  #state: "opening" | "open" | "closed" = "opening";
  #closing = false;

  /** Called when the other side has finished sending. */
  onfinished: () => void = () => {};

  private constructor(link: Link, handle: number, context: string) {
    this.#link = link;
    this.#handle = handle;
    this.#context = context;
    this.receiver = new ByteReceiver(link, handle);
    this.sender = new ByteSender(link, handle);
    link.register(handle, (event) => this.#handleEvent(event));
  }

  /** Starts to connect. */
  static open(link: Link, request: ConnectRequest): TcpConnection {
    const handle = link.newHandle();
    const connection = new TcpConnection(link, handle, `connect to ${request.host} port ${request.port}`);
    link.post({ op: "connect", handle, credit: RECEIVE_WINDOW, ...request });
    return connection;
  }

  /** Takes over a connection that a listener has accepted. */
  static adopt(link: Link, handle: number, opened: Opened): TcpConnection {
    const connection = new TcpConnection(link, handle, "accepted connection");
    connection.#open(opened);
    link.post({ op: "adopt", handle, credit: RECEIVE_WINDOW });
    return connection;
  }

  /** Resolves when the connection is established. */
  get opened(): Promise<Opened> {
    return this.#opened.promise;
  }

  /** Resolves when both directions have ended; rejects where the connection broke or was never established. */
  get closed(): Promise<undefined> {
    return this.#closed.promise;
  }

  get state(): "opening" | "open" | "closed" {
    return this.#state;
  }

  /** Ends both directions now; what was accepted for sending is still sent. */
  close(abort = false): Promise<undefined> {
    this.#closing = true;
    if (this.#state !== "closed") this.#link.post({ op: "close", handle: this.#handle, abort });
    return this.closed;
  }

  #open(opened: Opened): void {
    if (this.#state !== "opening") return;
    this.#state = "open";
    this.#opened.resolve(opened);
  }

  #handleEvent(event: HandleEvent): void {
    switch (event.event) {
      case "opened":
        return this.#open(event.opened);
      case "data":
        return this.receiver.push(event.data);
      case "sent":
        return this.sender.sent(event.amount);
      case "finished":
        this.receiver.end();
        return this.onfinished();
      case "broken":
        return this.sender.fail(toException(event.failure, this.#context));
      case "closed":
        return this.#end(event.failure);
    }
  }

  #end(cause: Failure | undefined): void {
    const opening = this.#state === "opening";
    this.#state = "closed";
    if (cause === undefined || (this.#closing && cause.code === "ECONNABORTED")) {
      this.receiver.end();
      this.sender.fail(toException(failure("EPIPE"), this.#context));
      this.#closed.resolve(undefined);
    } else {
      const error = toException(cause, this.#context);
      this.receiver.end(error);
      this.sender.fail(error);
      this.#closed.reject(error);
    }
    if (opening) this.#opened.reject(toException(cause ?? failure("ECONNABORTED"), this.#context));
  }
}
