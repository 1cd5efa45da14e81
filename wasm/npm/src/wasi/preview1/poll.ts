/** `poll_oneoff` over sockets and clocks. */
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../../emscripten/constants.js";
import type { Memory } from "../../emscripten/environment.js";
import type { Socket } from "../../emscripten/socket.js";
import { firstDatagram } from "../../posix/datagram.js";
import { Failed, type Context, type Import } from "./context.js";
import { FIRST } from "./descriptors.js";
import { WasiErrno } from "./errno.js";

const SUBSCRIPTION_SIZE = 48;
const EVENT_SIZE = 32;
/** As many as there can be sockets, for both directions, and some timers. */
const MAX_SUBSCRIPTIONS = 4096;

const CLOCK = 0;
const READ = 1;
const WRITE = 2;
const HANGUP = 1;
const REALTIME = 0;
const MONOTONIC = 1;
const ABSOLUTE = 1;

interface Subscription {
  readonly userdata: Uint8Array;
  readonly tag: number;
  /** Of a clock: milliseconds of `performance.now()` when it is due. */
  readonly due: number;
  /** Of a descriptor. */
  readonly fd: number;
}

interface Happened {
  readonly errno: number;
  readonly octets: number;
  readonly flags: number;
}

const READY: Happened = { errno: 0, octets: 0, flags: 0 };

function dueAt(view: DataView): number {
  const clock = view.getUint32(16, true);
  if (clock !== REALTIME && clock !== MONOTONIC) throw new Failed(WasiErrno.EINVAL);
  const milliseconds = Number(view.getBigUint64(24, true)) / 1e6;
  const absolute = (view.getUint16(40, true) & ABSOLUTE) !== 0;
  // An absolute time is that of the clock which the program reads: the shim's, which is one of these two.
  const now = !absolute ? 0 : clock === REALTIME ? Date.now() : performance.now();
  return performance.now() + milliseconds - now;
}

function readSubscription(context: Context, at: number): Subscription {
  const octets = context.octets(at, SUBSCRIPTION_SIZE).slice();
  const view = new DataView(octets.buffer);
  const tag = view.getUint8(8);
  if (tag > WRITE) throw new Failed(WasiErrno.EINVAL);
  const clock = tag === CLOCK;
  return {
    userdata: octets.subarray(0, 8), tag, due: clock ? dueAt(view) : Infinity, fd: clock ? -1 : view.getUint32(16, true),
  };
}

function available(socket: Socket): number {
  if (socket.shared === undefined) return 0;
  return socket.stream ? socket.shared.rx.readable : (firstDatagram(socket.shared.rx)?.length ?? 0);
}

/** What there is to tell of a subscription; a file is always ready, as on Linux. */
function look(context: Context, { tag, due, fd }: Subscription): Happened | undefined {
  if (tag === CLOCK) return performance.now() >= due ? READY : undefined;
  if (fd < FIRST) return READY;
  const socket = context.descriptors.get(fd);
  if (socket === undefined) return { ...READY, errno: WasiErrno.EBADF };
  const events = socket.poll(context.channel.down);
  if ((events & (POLLERR | POLLHUP | (tag === READ ? POLLIN : POLLOUT))) === 0) return undefined;
  const octets = tag === READ ? available(socket) : (socket.shared?.tx.writable ?? 0);
  const over = tag === READ ? POLLHUP | POLLRDHUP : POLLHUP;
  return { errno: 0, octets, flags: (events & over) !== 0 ? HANGUP : 0 };
}

function writeEvent(memory: Memory, at: number, { userdata, tag }: Subscription, happened: Happened): void {
  const octets = memory.octets(at, EVENT_SIZE).fill(0);
  octets.set(userdata);
  octets[10] = tag;
  memory.setU16(at + 8, happened.errno);
  memory.setI64(at + 16, happened.octets);
  memory.setU16(at + 24, happened.flags);
}

/** Writes the events of what is ready, or waits until something is. */
function poll(context: Context, subscriptions: readonly Subscription[], into: number, countAt: number): void {
  context.octets(into, EVENT_SIZE * subscriptions.length);
  const step = (): number | undefined => {
    let count = 0;
    for (const each of subscriptions) {
      const happened = look(context, each);
      if (happened === undefined) continue;
      writeEvent(context.memory, into + EVENT_SIZE * count, each, happened);
      count += 1;
    }
    return count === 0 ? undefined : count;
  };
  const first = Math.min(...subscriptions.map(({ due }) => due));
  // Clocks of browsers are coarse, so that a wait may end a little before its time.
  let count: number | undefined;
  while (count === undefined) count = context.channel.wait(Math.max(0.1, first - performance.now()), step);
  context.memory.setI32(countAt, count);
}

/** With files and no sockets it is the shim's own. */
export function pollImport(context: Context, shim: Import | undefined): Import {
  const files = shim as ((...parameters: number[]) => unknown) | undefined;
  return ((at: number, into: number, count: number, countAt: number): unknown => {
    let forShim = false;
    const errno = context.call(() => {
      if (count < 1 || count > MAX_SUBSCRIPTIONS) throw new Failed(WasiErrno.EINVAL);
      const subscriptions = Array.from({ length: count }, (_, i) => readSubscription(context, at + SUBSCRIPTION_SIZE * i));
      const ours = subscriptions.every(({ tag }) => tag === CLOCK) || subscriptions.some(({ fd }) => fd >= FIRST);
      forShim = !ours && files !== undefined;
      if (!forShim) poll(context, subscriptions, into, countAt);
    });
    return forShim ? files?.(at, into, count, countAt) : errno;
  }) as Import;
}
