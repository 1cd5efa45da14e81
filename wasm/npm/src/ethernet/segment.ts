/** An Ethernet segment for virtual machines: its ports, its tunnels and its timers. */
import { endOf, failureOf } from "../engine/codes.js";
import { addressAt, endpointAt, eventsOf, Kind, statusOf, word } from "../engine/events.js";
import type { WebSocketFactory } from "../engine/transport.js";
import { failure, toException, type Failure } from "../errors.js";
import type { TunnelLease } from "../link/protocol.js";
import { macOf, type Bindings, type LinkWords } from "./bindings.js";
import type { JoinOptions, StackWasm } from "./join.js";
import { Mapping, type MappedPort, type MapPortOptions } from "./mapped-port.js";
import type { Network } from "../network.js";
import { PageSocket } from "./page-socket.js";
import { Port, type EthernetPort, type NetworkCard } from "./port.js";
import { Tunnels, type Gateway } from "./tunnels.js";

/** Milliseconds between two looks at what takes no more: neither WebSockets nor emulators have an event for it. */
const DRAIN_INTERVAL = 4;

/** Octets of frames after which a turn waits for no pause of the emulator: a fraction of what a tunnel's queue holds. */
const BURST = 256 * 1024;

/** The longest that `setTimeout` can wait. */
const MAX_DELAY = 0x7fffffff;

/** What NOT_AUTHORIZED means for a port (RFC 6887 section 11.3): its mapping has a nonce, which PCP alone knows. */
const HELD_BY_GUEST = failure("EACCES", "the guest itself holds the port, by PCP");

/** A network card that has sent something. */
export interface Guest {
  readonly mac: string;
  /** Its IPv4 address on the segment, as far as it is known. */
  readonly address: string | undefined;
  /** What the gateway has assigned to its tunnel; absent before that works. */
  readonly tunnel: TunnelLease | undefined;
}

/** What is told about guests. */
export interface EthernetEventMap {
  /** A guest has an address by DHCP, for the first time or again. */
  lease: CustomEvent<{ readonly mac: string; readonly address: string }>;
  /** The tunnel of a guest works, for the first time or again. */
  connected: CustomEvent<Guest>;
  /** The tunnel of a guest is over, and why: it has no way out any more. */
  closed: CustomEvent<{ readonly mac: string; readonly error: DOMException }>;
}

type Listener<K extends keyof EthernetEventMap> = (event: EthernetEventMap[K]) => void;

/**
 * An Ethernet segment with a router, DHCP and DNS, behind which each network card has a tunnel of its own. Made by
 * `openEthernet`.
 */
export class Ethernet {
  readonly #bindings: Bindings;
  readonly #tunnels: Tunnels;
  readonly #events = new EventTarget();
  readonly #stackWasm: StackWasm;
  readonly #ports = new Map<number, Port | PageSocket>();
  /** Ports for which frames wait. */
  readonly #waiting = new Set<number>();
  /** Links, with the addresses of their network cards. */
  readonly #macs = new Map<number, string>();
  readonly #mappings = new Map<string, Mapping>();
  readonly #online = (): void => this.#run(() => this.#bindings.reconnectNow());
  #inputs: (() => void)[] = [];
  /** Octets of frames that have come since the last turn. */
  #unturned = 0;
  #running = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** @internal */
  constructor(bindings: Bindings, gateway: Gateway, openWebSocket: WebSocketFactory, stackWasm: StackWasm) {
    this.#bindings = bindings;
    this.#stackWasm = stackWasm;
    this.#tunnels = new Tunnels(bindings, gateway, openWebSocket, (input) => this.#run(input));
    globalThis.addEventListener?.("online", this.#online);
  }

  /** As with any `EventTarget`. */
  addEventListener<K extends keyof EthernetEventMap>(type: K, listener: Listener<K>, options?: AddEventListenerOptions): void {
    this.#events.addEventListener(type, listener as (event: Event) => void, options);
  }

  /** As with any `EventTarget`. */
  removeEventListener<K extends keyof EthernetEventMap>(type: K, listener: Listener<K>): void {
    this.#events.removeEventListener(type, listener as (event: Event) => void);
  }

  /**
   * Plugs a network card in. Its machine hears of the segment by DHCP and router advertisements.
   *
   * @throws DOMException `NetworkError` (`ENOBUFS`) where no port is free, (`ENETDOWN`) where the segment is closed
   */
  plug(card: NetworkCard): EthernetPort {
    if (this.#closed) throw toException(failure("ENETDOWN"), "plug a network card in");
    const id = this.#bindings.addPort();
    if (id === undefined) throw toException(failure("ENOBUFS"), "plug a network card in");
    const port = new Port(card, {
      send: (frame) => this.#takeFrame(id, frame),
      poll: () => this.#bindings.pollFrame(id),
      unplug: () => this.#remove(id),
      busy: () => this.#running,
    });
    this.#ports.set(id, port);
    return port;
  }

  /**
   * Makes this page a host on the segment, with an address of its own and everything that a tunnel has: sockets, names,
   * ping. Machines and page reach each other directly, also while no gateway answers; what goes elsewhere goes through a
   * tunnel of the page's. The stack runs in this thread; its WebAssembly is loaded by the first call. Ports from outside
   * are mapped by {@link mapPort}, with the page's address as `guest`.
   *
   * @throws DOMException `NetworkError` (`ENOBUFS`) where the segment has no room, (`ENETDOWN`) where it is closed
   *
   * @example
   * const page = await net.join();
   * const socket = new page.TCPSocket("192.168.127.2", 80); // a server in a machine
   */
  async join(options: JoinOptions = {}): Promise<Network> {
    const { join } = await import("./join.js");
    const first = this.#addPage();
    let given = false;
    const open = (): PageSocket => {
      const socket = given ? this.#addPage() : first;
      given = true;
      return socket.open();
    };
    return join(open, this.#stackWasm, options).catch((error: unknown) => {
      first.close();
      throw error;
    });
  }

  #addPage(): PageSocket {
    const id = this.#closed ? undefined : this.#bindings.addPage();
    if (id === undefined) throw toException(failure(this.#closed ? "ENETDOWN" : "ENOBUFS"), "join the segment");
    const socket = new PageSocket({
      send: (message) => this.#run(() => this.#bindings.pageMessage(id, message)),
      poll: () => this.#bindings.pollPageMessage(id),
      waiting: () => this.#bindings.waitingPackets(id),
      wake: () => this.#run(() => {}),
      leave: () => this.#remove(id),
    });
    this.#ports.set(id, socket);
    return socket;
  }

  #remove(id: number): void {
    this.#ports.delete(id);
    this.#run(() => this.#bindings.removePort(id));
  }

  /** The network cards that have a tunnel, or are about to have one. */
  guests(): Guest[] {
    const known = [...this.#macs.keys()].flatMap((link) => this.#bindings.link(link) ?? []);
    return known.filter((it) => !this.#isPage(it)).map(({ mac, address, tunnel }) => ({ mac, address, tunnel }));
  }

  #isPage({ port }: LinkWords): boolean {
    return port !== undefined && this.#ports.get(port) instanceof PageSocket;
  }

  /** How many frames and packets were dropped: too many, malformed, forged, or without a way out. */
  get dropped(): number {
    return this.#bindings.dropped();
  }

  /**
   * Makes a port of a guest reachable from outside.
   *
   * @throws DOMException `NetworkError` where the gateway refuses it, (`ENOTCONN`) where there is no such guest, or more than
   * one; `NotAllowedError` where the guest has mapped it by PCP
   */
  async mapPort(port: number, options: MapPortOptions = {}): Promise<MappedPort> {
    const { protocol = "tcp", guest, externalPort = 0, family = "ipv4", lifetime = 7200 } = options;
    const refuse = (cause: Failure): never => {
      throw toException(cause, `map port ${port} of a guest`);
    };
    const meant = [...this.#macs.keys()].filter((link) => {
      const found = this.#bindings.link(link);
      if (found === undefined) return false;
      return guest === undefined ? !this.#isPage(found) : guest.toLowerCase() === found.mac || guest === found.address;
    });
    const [link] = meant;
    if (link === undefined || meant.length > 1) return refuse(failure("ENOTCONN", `${meant.length} guests are meant`));
    const number = protocol === "tcp" ? 6 : 17;
    const id = this.#bindings.mapPort(link, number, family === "ipv6", port, externalPort, lifetime);
    if (id === undefined) return refuse(failure("ENOTCONN"));
    const mapping = new Mapping(() => {
      if (this.#mappings.delete(`${link} ${id}`)) this.#run(() => this.#bindings.unmapPort(link, id));
    });
    this.#mappings.set(`${link} ${id}`, mapping);
    this.#run(() => {});
    return mapping.first.catch((cause: Failure) => refuse(cause.code === "EACCES" ? HELD_BY_GUEST : cause));
  }

  /** Ends all tunnels. Final. */
  close(): void {
    if (this.#closed) return;
    this.#run(() => this.#bindings.close());
    this.#end();
  }

  /**
   * Frames are taken at once, and a turn follows when the emulator pauses: what it sends in one go leaves in few messages,
   * each of which costs as much as the emulation of several frames. Where frames wait for it, it gets them now: it is fastest
   * with more to do before it pauses.
   */
  #takeFrame(port: number, frame: Uint8Array): void {
    const input = (): void => this.#bindings.frame(port, frame);
    const before = this.#unturned;
    this.#unturned += frame.length;
    if (this.#running || this.#unturned >= BURST || this.#waiting.size > 0) return this.#run(input);
    if (!this.#closed) this.#guard(input);
    if (before === 0) queueMicrotask(() => this.#unturned > 0 && this.#run(() => {}));
  }

  /** Each input is followed by a turn. One that comes during a turn waits for its end. */
  #run(input: () => void): void {
    if (this.#closed) return;
    this.#inputs.push(input);
    if (this.#running) return;
    this.#running = true;
    this.#guard(() => {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        this.#unturned = 0;
        next();
        this.#turn();
      }
      this.#schedule();
    });
    this.#running = false;
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #turn(): void {
    for (let busy = true; busy; ) {
      const batch = this.#bindings.pollEvents();
      for (const { kind, words } of eventsOf(batch)) this.#handleEvent(kind, words);
      for (let port = this.#bindings.pollPort(); port !== undefined; port = this.#bindings.pollPort()) {
        this.#waiting.add(port);
      }
      for (const port of this.#waiting) this.#deliver(port);
      busy = this.#tunnels.turn() || batch.length > 0;
    }
  }

  #deliver(id: number): void {
    const port = this.#ports.get(id);
    while (port?.hasRoom) {
      if (port.take()) continue;
      this.#waiting.delete(id);
      return;
    }
    if (port === undefined) this.#waiting.delete(id);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    const blocked = this.#waiting.size > 0 || this.#tunnels.blocked;
    const due = Math.min(this.#bindings.pollTimeout(), blocked ? DRAIN_INTERVAL : Infinity, MAX_DELAY);
    this.#timer = setTimeout(() => this.#run(() => this.#bindings.timeout()), Math.max(0, Math.ceil(due)));
  }

  /** The segment has a fault of its own, and nobody behind it a way out any more. */
  #fail(text: string): void {
    const error = toException(failure("EIO", `the Ethernet segment failed: ${text}`));
    for (const mac of this.#macs.values()) this.#tell("closed", { mac, error });
    this.#end();
  }

  #end(): void {
    for (const port of this.#ports.values()) if (port instanceof PageSocket) port.end();
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#tunnels.closeAll();
    this.#inputs = [];
    globalThis.removeEventListener?.("online", this.#online);
    for (const mapping of this.#mappings.values()) mapping.answer(undefined, failure("ENETDOWN"));
  }

  #handleEvent(kind: Kind, words: Uint32Array): void {
    const link = word(words, 0);
    switch (kind) {
      case Kind.OpenTransport:
        this.#macs.set(link, this.#bindings.link(link)?.mac ?? "");
        return this.#tunnels.open(link);
      case Kind.CloseTransport:
        return this.#tunnels.close(link);
      case Kind.Status:
        return this.#status(link, words.subarray(1));
      case Kind.PortMapped: {
        const external = endpointAt(words, 3);
        this.#mappings.get(`${link} ${word(words, 1)}`)?.answer(external, failureOf(word(words, 2)));
        return;
      }
      case Kind.LinkRemoved:
        this.#macs.delete(link);
        return;
      case Kind.GuestLease:
        return this.#tell("lease", { mac: macOf(link, word(words, 1)), address: addressAt(words, 2) });
    }
  }

  #status(link: number, words: Uint32Array): void {
    const { state, code } = statusOf(words);
    const guest = this.#bindings.link(link);
    if (state === "connected" && guest !== undefined) this.#tell("connected", guest);
    if (state !== "closed") return;
    const error = toException(endOf(code, this.#bindings.closeReason()), "the tunnel of a guest");
    this.#tell("closed", { mac: this.#macs.get(link) ?? "", error });
    this.#macs.delete(link);
  }

  /** In a turn of their own, so that a listener finds everything settled. */
  #tell<K extends keyof EthernetEventMap>(type: K, detail: EthernetEventMap[K]["detail"]): void {
    queueMicrotask(() => this.#events.dispatchEvent(new CustomEvent(type, { detail })));
  }
}
