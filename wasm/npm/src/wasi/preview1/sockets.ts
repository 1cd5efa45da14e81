/**
 * The `sock_*` functions: the four of wasi_snapshot_preview1, and WasmEdge's in both of its versions. A program passes as
 * many parameters as its import has, which tells apart functions that share a name.
 */
import { AF_INET, AF_INET6, MSG_PEEK, MSG_WAITALL, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM } from "../../emscripten/constants.js";
import { accept, bind, close, connect, createSocket, listen, shutdown } from "../../emscripten/connection.js";
import type { Socket } from "../../emscripten/socket.js";
import { getOption, setOption } from "../../emscripten/sockopt.js";
import { receive, send, type Arrival } from "../../emscripten/transfer.js";
import { formatAddress } from "../../address.js";
import { DATAGRAM, INET4, INET6, readEndpoint, STREAM, writeAddress } from "./address.js";
import { Failed, type Context, type Import } from "./context.js";
import { errnoFor, WasiErrno } from "./errno.js";
import { getAddressInfo } from "./names.js";

const RECEIVE_PEEK = 1;
const RECEIVE_WAITALL = 2;
const RECEIVE_TRUNCATED = 1;
const NONBLOCK = 4;

const SOL_SOCKET = 1;
const SO_TYPE = 1;
const SO_ERROR = 2;
/** Linux's numbers of WasmEdge's options, by theirs. */
const OPTIONS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 18, 20, 21, 30, 25];

/** How `sock_connect` takes an IPv4 address as a number: see {@link Preview1Options}. */
export type ByteOrder = "network" | "host";

/** Adds a socket to the descriptors, and closes it where there is no room. */
function openDescriptor(context: Context, socket: Socket): number {
  const fd = context.descriptors.open(socket);
  if (fd < 0) close(context.channel, socket);
  return context.done(fd);
}

function open(context: Context, family: number, type: number, fdAt: number): void {
  const families: Readonly<Record<number, number>> = { [INET4]: AF_INET, [INET6]: AF_INET6 };
  const types: Readonly<Record<number, number>> = { [DATAGRAM]: SOCK_DGRAM, [STREAM]: SOCK_STREAM };
  const socket = createSocket(families[family] ?? 0, types[type] ?? 0, 0);
  if (typeof socket === "number") throw new Failed(errnoFor(socket));
  context.memory.setI32(fdAt, openDescriptor(context, socket));
}

function acceptConnection(context: Context, fd: number, flags: number, fdAt: number): void {
  if ((flags & ~NONBLOCK) !== 0) throw new Failed(WasiErrno.EINVAL);
  const socket = accept(context.channel, context.socket(fd), flags === 0 ? 0 : SOCK_NONBLOCK);
  if (typeof socket === "number") throw new Failed(errnoFor(socket));
  context.memory.setI32(fdAt, openDescriptor(context, socket));
}

/** `sock_connect(ipv4, port, *fd)`: a socket, connected. */
function connectNew(context: Context, order: ByteOrder, ipv4: number, port: number, fdAt: number): void {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, ipv4, order === "network");
  const socket = createSocket(AF_INET, SOCK_STREAM, 0);
  if (typeof socket === "number") throw new Failed(errnoFor(socket));
  const remote = { address: formatAddress(4, [view.getUint32(0)]), port: port & 0xffff };
  context.done(connect(context.channel, socket, remote));
  context.memory.setI32(fdAt, openDescriptor(context, socket));
}

function take(context: Context, fd: number, at: number, count: number, flags: number): [Socket, Arrival] {
  if ((flags & ~(RECEIVE_PEEK | RECEIVE_WAITALL)) !== 0) throw new Failed(WasiErrno.EINVAL);
  const socket = context.socket(fd);
  const native = ((flags & RECEIVE_PEEK) !== 0 ? MSG_PEEK : 0) | ((flags & RECEIVE_WAITALL) !== 0 ? MSG_WAITALL : 0);
  const arrival = receive(context.channel, socket, context.vectors(at, count), native);
  context.done(arrival.length);
  return [socket, arrival];
}

function tell(context: Context, { length, truncated }: Arrival, lengthAt: number, flagsAt: number): void {
  context.memory.setI32(lengthAt, length);
  context.memory.setU16(flagsAt, truncated ? RECEIVE_TRUNCATED : 0);
}

/** @param portAt - 0 where the program does not ask for it */
function receiveFrom(
  context: Context, fd: number, at: number, count: number, addressAt: number, flags: number, portAt: number,
  lengthAt: number, flagsAt: number,
): void {
  const [socket, arrival] = take(context, fd, at, count, flags);
  const from = arrival.from ?? socket.remote;
  writeAddress(context, socket, from, addressAt);
  if (portAt !== 0) context.memory.setU16(portAt, from?.port ?? 0);
  tell(context, arrival, lengthAt, flagsAt);
}

function sendTo(
  context: Context, fd: number, at: number, count: number, to: { at: number; port: number } | undefined, flags: number,
  lengthAt: number,
): void {
  if (flags !== 0) throw new Failed(WasiErrno.EINVAL);
  const socket = context.socket(fd);
  const remote = to && readEndpoint(context, socket, to.at, to.port);
  const sent = context.done(send(context.channel, socket, context.vectors(at, count), 0, remote));
  context.memory.setI32(lengthAt, sent);
}

/** @param types - what stands for IPv4 and IPv6 */
function nameOf(
  context: Context, fd: number, peer: boolean, addressAt: number, typeAt: number, portAt: number, types: [number, number],
): void {
  const socket = context.socket(fd);
  const endpoint = peer ? socket.remote : socket.local;
  if (peer && endpoint === undefined) throw new Failed(WasiErrno.ENOTCONN);
  writeAddress(context, socket, endpoint, addressAt);
  context.memory.setI32(typeAt, types[socket.family === AF_INET ? 0 : 1]);
  context.memory.setI32(portAt, endpoint?.port ?? 0);
}

function option(level: number, name: number): number {
  const native = level === 0 ? OPTIONS[name] : undefined;
  if (native === undefined) throw new Failed(WasiErrno.EINVAL);
  return native;
}

function getSocketOption(context: Context, fd: number, level: number, name: number, at: number, lengthAt: number): void {
  const { memory } = context;
  context.done(getOption(memory, context.socket(fd), SOL_SOCKET, option(level, name), at, lengthAt));
  if (name === SO_ERROR) memory.setI32(at, errnoFor(-memory.i32(at)));
  if (name === SO_TYPE) memory.setI32(at, memory.i32(at) === SOCK_STREAM ? STREAM : DATAGRAM);
}

/** The first version tells 4 and 6, the second one WasmEdge's numbers of the families. */
const VERSIONS: Readonly<Record<"" | "_v2", [number, number]>> = { "": [4, 6], _v2: [INET4, INET6] };

/** Those that are the same in both versions. */
function transfers(context: Context): Record<string, Import> {
  const call = (action: () => void): number => context.call(action);
  return {
    sock_open: (family: number, type: number, fdAt: number) => call(() => open(context, family, type, fdAt)),
    sock_bind: (fd: number, at: number, port: number) => call(() => {
      const socket = context.socket(fd);
      context.done(bind(context.channel, socket, readEndpoint(context, socket, at, port)));
    }),
    sock_listen: (fd: number, backlog: number) =>
      call(() => void context.done(listen(context.channel, context.socket(fd), backlog))),
    sock_accept: (...[fd, ...rest]: [number, number, number?]) => call(() => {
      const [flags, fdAt] = rest.length === 1 ? [0, rest[0]] : rest;
      acceptConnection(context, fd, flags, fdAt ?? 0);
    }),
    sock_connect: (fd: number, at: number, port: number) => call(() => {
      const socket = context.socket(fd);
      context.done(connect(context.channel, socket, readEndpoint(context, socket, at, port)));
    }),
    sock_recv: (fd: number, at: number, count: number, flags: number, lengthAt: number, flagsAt: number) =>
      call(() => tell(context, take(context, fd, at, count, flags)[1], lengthAt, flagsAt)),
    sock_recv_from: (fd: number, at: number, count: number, address: number, flags: number, ...rest: number[]) =>
      call(() => {
        const [portAt = 0, lengthAt = 0, flagsAt = 0] = rest.length === 2 ? [0, ...rest] : rest;
        receiveFrom(context, fd, at, count, address, flags, portAt, lengthAt, flagsAt);
      }),
    sock_send: (fd: number, at: number, count: number, flags: number, lengthAt: number) =>
      call(() => sendTo(context, fd, at, count, undefined, flags, lengthAt)),
    sock_send_to: (
      fd: number, at: number, count: number, address: number, port: number, flags: number, lengthAt: number,
    ) => call(() => sendTo(context, fd, at, count, { at: address, port }, flags, lengthAt)),
  };
}

function names(context: Context, version: "" | "_v2"): Record<string, Import> {
  const name = (peer: boolean) => (fd: number, addressAt: number, typeAt: number, portAt: number) =>
    context.call(() => nameOf(context, fd, peer, addressAt, typeAt, portAt, VERSIONS[version]));
  return { [`sock_getlocaladdr${version}`]: name(false), [`sock_getpeeraddr${version}`]: name(true) };
}

/** All of them. */
export function socketImports(context: Context, minimal: ByteOrder | undefined): Record<string, Import> {
  const common = transfers(context);
  const second = Object.entries(common).map(([name, call]) => [`${name}_v2`, call]);
  return {
    ...common,
    ...Object.fromEntries(second),
    ...names(context, ""),
    ...names(context, "_v2"),
    ...(minimal && {
      sock_connect: (ipv4: number, port: number, fdAt: number) =>
        context.call(() => connectNew(context, minimal, ipv4, port, fdAt)),
    }),
    sock_shutdown: (fd: number, how: number) =>
      context.call(() => void context.done(shutdown(context.channel, context.socket(fd), how - 1))),
    sock_getsockopt: (fd: number, level: number, name: number, at: number, lengthAt: number) =>
      context.call(() => getSocketOption(context, fd, level, name, at, lengthAt)),
    sock_setsockopt: (fd: number, level: number, name: number, at: number, length: number) => context.call(() => {
      const { memory } = context;
      context.done(setOption(memory, context.socket(fd), SOL_SOCKET, option(level, name), at, length));
    }),
    sock_getaddrinfo: (...given: Parameters<typeof getAddressInfo> extends [unknown, ...infer Rest] ? Rest : never) =>
      context.call(() => getAddressInfo(context, ...given)),
  };
}
