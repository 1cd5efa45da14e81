/** `UDPSocket` of Direct Sockets. */
import { formatEndpoint } from "../address.js";
import { DATAGRAM_WINDOW, DatagramReceiver, DatagramSender } from "../datagrams.js";
import { Deferred } from "../deferred.js";
import { failure, toException, type Failure } from "../errors.js";
import type { HandleEvent, Link } from "../link/link.js";
import type { Opened } from "../link/protocol.js";
import { closeStreams } from "./close.js";
import { udpOptions, type UdpSettings } from "./options.js";
import type { UDPSocket, UDPSocketConstructor, UDPSocketOpenInfo, UDPSocketOptions } from "./types.js";

/** A UDP socket of the page. */
class UdpAssociation {
  readonly receiver: DatagramReceiver;
  readonly sender: DatagramSender;
  readonly opened = new Deferred<UDPSocketOpenInfo>();
  readonly #closed = new Deferred<undefined>();
  readonly #connected: boolean;
  readonly #context: string;
  state: "opening" | "open" | "closed" = "opening";

  constructor(link: Link, settings: UdpSettings) {
    const { remote, local } = settings;
    const endpoint = remote ?? local ?? { address: "", port: 0 };
    const handle = link.newHandle();
    this.#connected = remote !== undefined;
    this.#context = `${remote === undefined ? "bind" : "connect"} UDP ${formatEndpoint(endpoint)}`;
    this.receiver = new DatagramReceiver(link, handle);
    this.sender = new DatagramSender(link, handle, this.#connected);
    link.register(handle, (event) => this.#handleEvent(event));
    link.post({ op: "udp", handle, credit: DATAGRAM_WINDOW, ...settings });
  }

  get closed(): Promise<undefined> {
    return this.#closed.promise;
  }

  #open({ local, remote, external }: Opened): void {
    this.state = "open";
    this.opened.resolve({
      readable: this.receiver.readable,
      writable: this.sender.writable,
      localAddress: local.address,
      localPort: local.port,
      ...(remote && { remoteAddress: remote.address, remotePort: remote.port }),
      ...(external && { externalAddress: external.address, externalPort: external.port }),
    });
  }

  #handleEvent(event: HandleEvent): void {
    switch (event.event) {
      case "opened":
        return this.#open(event.opened);
      case "data":
        return this.receiver.push(event.data, this.#connected ? undefined : event.from);
      case "sent":
        return this.sender.sent(event.amount);
      case "broken":
        return this.sender.fail(toException(event.failure, this.#context));
      case "closed":
        return this.#end(event.failure);
    }
  }

  #end(cause: Failure | undefined): void {
    const error = cause && toException(cause, this.#context);
    if (this.state === "opening") this.opened.reject(error ?? toException(failure("ECONNABORTED"), this.#context));
    this.state = "closed";
    this.receiver.end(error);
    this.sender.fail(error ?? toException(failure("EPIPE"), this.#context));
    if (error !== undefined) this.#closed.reject(error);
    else this.#closed.resolve(undefined);
  }
}

/** Makes the class whose sockets go through `link`. */
export function defineUDPSocket(link: Link): UDPSocketConstructor {
  class UDPSocketImpl implements UDPSocket {
    readonly #association: UdpAssociation;

    constructor(options: UDPSocketOptions) {
      this.#association = new UdpAssociation(link, udpOptions(options));
    }

    get [Symbol.toStringTag](): string {
      return "UDPSocket";
    }

    get opened(): Promise<UDPSocketOpenInfo> {
      return this.#association.opened.promise;
    }

    get closed(): Promise<undefined> {
      return this.#association.closed;
    }

    close(): Promise<undefined> {
      const { receiver, sender } = this.#association;
      return closeStreams(this.#association, receiver.readable, sender.writable);
    }
  }
  Object.defineProperty(UDPSocketImpl, "name", { value: "UDPSocket" });
  return UDPSocketImpl;
}
