/**
 * The network card of v86 on an Ethernet segment.
 *
 * @example
 * import { openEthernet } from "webtun/ethernet";
 * import { attach } from "webtun/v86";
 * const net = await openEthernet("wss://gateway.example/", { mtu: 65000 });
 * const emulator = new V86({ ..., net_device: { type: "virtio", mtu: 65000 } });
 * attach(emulator, net);
 *
 * @module
 */
import type { EthernetPort, NetworkCard } from "./ethernet/port.js";
import type { Ethernet } from "./ethernet/segment.js";

/** What is used of v86's `V86`. Its `net_device` must have no `relay_url`. */
export interface V86Like {
  // v86 types its listeners by the events that it documents, which do not include those of a network card.
  add_listener(event: string, listener: (argument: any) => void): void;
  remove_listener(event: string, listener: (argument: any) => void): void;
}

/** Options of {@link attach}. */
export interface AttachOptions {
  /** Which of the machine's network cards, by `net_device.id`; 0 when not given. */
  card?: number | undefined;
}

/** The parts of a machine that v86's types leave out. */
interface Inside {
  readonly bus: { send(event: string, argument?: unknown): void };
  readonly v86?: { cpu?: Processor };
}

/** The parts of a running machine that tell whether its card has room. */
interface Processor {
  devices?: { virtio_net?: { virtio: { queues: { has_request(): boolean }[] } }; net?: Ne2k };
  /** The register EFLAGS. */
  flags?: Int32Array;
}

/** NE2000's ring of pages of 256 octets: where the card writes next, up to where the driver has read, and its ends. */
interface Ne2k {
  curpg: number;
  boundary: number;
  pstart: number;
  pstop: number;
  /** Interrupts that the driver has not seen yet, and those that it wants. */
  isr: number;
  imr: number;
  do_interrupt(mask: number): void;
}

/** The interrupt for a frame that has come. */
const RECEIVED = 1;

/** Of EFLAGS: the processor takes interrupts. */
const INTERRUPTIBLE = 0x200;

/** Pages of the longest frame, with its header and check sequence, and one more: a full ring looks like an empty one. */
const NE2K_PAGES = 8;

/**
 * v86's interrupt controller loses all interrupts for good when a card takes one back that the processor has not seen, and
 * Linux's driver has the card do so: it masks it before it sends. Thus a frame waits while it would have to wait for its
 * interrupt.
 */
function ne2kMayInterrupt(card: Ne2k, flags: Int32Array | undefined): boolean {
  return card.imr === 0 || flags === undefined || ((flags[0] ?? 0) & INTERRUPTIBLE) !== 0;
}

function ne2kHasRoom(card: Ne2k): boolean {
  const { curpg, boundary, pstart, pstop, isr } = card;
  // A driver that has not started yet has no ring, and takes no frames.
  if (boundary === 0) return true;
  const free = boundary > curpg ? boundary - curpg : pstop - curpg + boundary - pstart;
  const hasRoom = free >= NE2K_PAGES;
  // Linux's driver takes nine frames by one interrupt, and then clears it although there may be more.
  if (!hasRoom && (isr & RECEIVED) === 0) card.do_interrupt(RECEIVED);
  return hasRoom;
}

/** As far as can be seen: a card of another kind has always room. */
function hasRoom({ v86 }: Inside): boolean {
  const { devices, flags } = v86?.cpu ?? {};
  const { virtio_net: virtio, net } = devices ?? {};
  if (virtio !== undefined) return virtio.virtio.queues[0]?.has_request() ?? true;
  if (net === undefined || typeof net.pstop !== "number") return true;
  return ne2kMayInterrupt(net, flags) && ne2kHasRoom(net);
}

/**
 * Plugs the network card of a machine in, virtio or ne2k. Frames that the card has no room for wait on the segment, which
 * holds back what the gateway sends.
 *
 * @throws DOMException `NetworkError` where the segment has no port left or is closed
 */
export function attach(emulator: V86Like, net: Ethernet, { card = 0 }: AttachOptions = {}): EthernetPort {
  const event = `net${card}-send`;
  const inside = emulator as V86Like & Inside;
  let listener: ((frame: Uint8Array) => void) | undefined;
  const nic: NetworkCard = {
    onSend(send) {
      listener = send;
      emulator.add_listener(event, send);
    },
    receive: (frame) => inside.bus.send(`net${card}-receive`, frame),
    hasRoom: () => hasRoom(inside),
  };
  const port = net.plug(nic);
  return {
    unplug() {
      port.unplug();
      if (listener !== undefined) emulator.remove_listener(event, listener);
    },
  };
}
