/** getsockopt() and setsockopt(). */
import { Errno } from "../posix/errno.js";
import { State } from "../posix/layout.js";
import { AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP } from "./constants.js";
import type { Memory } from "./environment.js";
import { Pipe } from "./pair.js";
import type { ProgramStream, Socket } from "./socket.js";

const SOL_SOCKET = 1;

const SO_REUSEADDR = 2;
const SO_TYPE = 3;
const SO_ERROR = 4;
const SO_DONTROUTE = 5;
const SO_BROADCAST = 6;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_KEEPALIVE = 9;
const SO_OOBINLINE = 10;
const SO_PRIORITY = 12;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const SO_RCVLOWAT = 18;
const SO_SNDLOWAT = 19;
const SO_ACCEPTCONN = 30;
const SO_PROTOCOL = 38;
const SO_DOMAIN = 39;
/** With 64-bit `time_t` musl names these two; with 32-bit ones the old numbers 20 and 21. */
const SO_RCVTIMEO = [20, 66];
const SO_SNDTIMEO = [21, 67];

const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_FASTOPEN_CONNECT = 30;
const IPV6_V6ONLY = 26;

/** What Linux tells of an untouched socket. */
const DEFAULT_SNDBUF = 16_384;
const DEFAULT_RCVBUF = 131_072;
const DEFAULT_UDP_BUFFER = 212_992;

/** Options that are kept and given back, and change nothing here, with their first value. */
const KEPT: ReadonlyMap<string, number> = new Map([
  [`${SOL_SOCKET} ${SO_REUSEADDR}`, 0],
  [`${SOL_SOCKET} ${SO_REUSEPORT}`, 0],
  [`${SOL_SOCKET} ${SO_DONTROUTE}`, 0],
  [`${SOL_SOCKET} ${SO_OOBINLINE}`, 0],
  [`${SOL_SOCKET} ${SO_PRIORITY}`, 0],
  [`${SOL_SOCKET} ${SO_RCVLOWAT}`, 1],
  [`${IPPROTO_TCP} 2`, 536], // TCP_MAXSEG
  [`${IPPROTO_TCP} 3`, 0], // TCP_CORK
  [`${IPPROTO_TCP} 5`, 75], // TCP_KEEPINTVL
  [`${IPPROTO_TCP} 6`, 9], // TCP_KEEPCNT
  [`${IPPROTO_TCP} 12`, 1], // TCP_QUICKACK
  [`${IPPROTO_TCP} 18`, 0], // TCP_USER_TIMEOUT
  [`${IPPROTO_IP} 1`, 0], // IP_TOS
  [`${IPPROTO_IP} 10`, 1], // IP_MTU_DISCOVER
  [`${IPPROTO_IP} 33`, 1], // IP_MULTICAST_TTL
  [`${IPPROTO_IP} 34`, 1], // IP_MULTICAST_LOOP
  [`${IPPROTO_IPV6} 67`, 0], // IPV6_TCLASS
]);

/** IP_TTL and IPV6_UNICAST_HOPS, with the smallest value of each. */
const HOP_LIMITS: ReadonlyMap<string, { field: "ttl" | "hops"; least: number }> = new Map([
  [`${IPPROTO_IP} 2`, { field: "ttl", least: 1 }],
  [`${IPPROTO_IPV6} 16`, { field: "hops", least: 0 }],
] as const);

/** What Linux sends with, and the stack. */
const DEFAULT_HOP_LIMIT = 64;

type Field = "noDelay" | "fastOpen" | "keepAlive" | "broadcast" | "keepIdle" | "ipv6Only";

const FIELDS: ReadonlyMap<string, Field> = new Map<string, Field>([
  [`${IPPROTO_TCP} ${TCP_NODELAY}`, "noDelay"],
  [`${IPPROTO_TCP} ${TCP_KEEPIDLE}`, "keepIdle"],
  [`${IPPROTO_TCP} ${TCP_FASTOPEN_CONNECT}`, "fastOpen"],
  [`${SOL_SOCKET} ${SO_KEEPALIVE}`, "keepAlive"],
  [`${SOL_SOCKET} ${SO_BROADCAST}`, "broadcast"],
  [`${IPPROTO_IPV6} ${IPV6_V6ONLY}`, "ipv6Only"],
]);

/** Whether a level exists for this socket: TCP's options are none of a UDP socket's. */
function hasLevel(socket: Socket, level: number): boolean {
  if (level === IPPROTO_TCP) return socket.stream;
  if (level === IPPROTO_UDP) return socket.protocol === IPPROTO_UDP;
  return level === SOL_SOCKET || level === IPPROTO_IP || (level === IPPROTO_IPV6 && socket.family === AF_INET6);
}

/** `struct timeval` as milliseconds, or an errno. */
function readTimeout(memory: Memory, at: number, length: number): { milliseconds: number } | number {
  const wide = length >= 16;
  if (!wide && length < 8) return Errno.EINVAL;
  const seconds = wide ? memory.i64(at) : memory.i32(at);
  const micros = memory.i32(wide ? at + 8 : at + 4);
  if (micros < 0 || micros >= 1_000_000) return 18; // EDOM
  return { milliseconds: Math.max(0, seconds * 1000 + Math.ceil(micros / 1000)) };
}

export function setOption(
  memory: Memory, stream: ProgramStream, level: number, name: number, at: number, length: number,
): number {
  if (stream instanceof Pipe) return level === SOL_SOCKET ? 0 : -Errno.EOPNOTSUPP;
  if (!hasLevel(stream, level)) return -Errno.ENOPROTOOPT;
  const { options } = stream;
  if (level === SOL_SOCKET && (SO_RCVTIMEO.includes(name) || SO_SNDTIMEO.includes(name))) {
    const timeout = readTimeout(memory, at, length);
    if (typeof timeout === "number") return -timeout;
    options[SO_RCVTIMEO.includes(name) ? "receiveTimeout" : "sendTimeout"] = timeout.milliseconds;
    return 0;
  }
  if (length < 4) return -Errno.EINVAL;
  const value = memory.i32(at);
  const key = `${level} ${name}`;
  const field = FIELDS.get(key);
  if (field === "keepIdle") {
    if (value < 1 || value > 32_767) return -Errno.EINVAL;
    options.keepIdle = value;
  } else if (field !== undefined) {
    if (field === "ipv6Only" && (stream.role !== "new" || stream.bound !== undefined)) return -Errno.EINVAL;
    if (field === "fastOpen" && (stream.role !== "new" || (value !== 0 && value !== 1))) return -Errno.EINVAL;
    options[field] = value !== 0;
  } else if (level === SOL_SOCKET && name === SO_LINGER) {
    if (length < 8) return -Errno.EINVAL;
    options.linger = { on: value !== 0, seconds: memory.i32(at + 4) };
  } else if (level === SOL_SOCKET && name === SO_RCVBUF) {
    options.receiveBuffer = doubled(value);
  } else if (level === SOL_SOCKET && name === SO_SNDBUF) {
    options.sendBuffer = doubled(value);
  } else if (HOP_LIMITS.has(key)) {
    return setHopLimit(stream, key, value);
  } else if (KEPT.has(key)) {
    options.others.set(key, isFlag(level, name) ? Number(value !== 0) : value);
  } else {
    return -Errno.ENOPROTOOPT;
  }
  return 0;
}

/** -1 stands for the default. It counts at once, for a connection, too. */
function setHopLimit(socket: Socket, key: string, value: number): number {
  const limit = HOP_LIMITS.get(key);
  if (limit === undefined || value > 255 || (value < limit.least && value !== -1)) return -Errno.EINVAL;
  // The stack knows no limit of 0, which would not leave this host either.
  socket.options[limit.field] = value === -1 ? DEFAULT_HOP_LIMIT : Math.max(value, 1);
  socket.shareHopLimit();
  return 0;
}

function isFlag(level: number, name: number): boolean {
  return level === SOL_SOCKET && name !== SO_PRIORITY && name !== SO_RCVLOWAT;
}

/** Linux keeps twice of what was asked for, and tells that; within its default bounds. */
function doubled(value: number): number {
  return Math.max(2304, 2 * Math.min(Math.max(value, 0), 212_992));
}

/** The value of an option: one number, two (SO_LINGER), a time, or a negative errno. */
function valueOf(socket: Socket, level: number, name: number): number[] | { milliseconds: number } | number {
  const { options } = socket;
  const key = `${level} ${name}`;
  const field = FIELDS.get(key);
  if (field !== undefined) return [Number(options[field])];
  if (level === SOL_SOCKET) {
    if (SO_RCVTIMEO.includes(name)) return { milliseconds: options.receiveTimeout };
    if (SO_SNDTIMEO.includes(name)) return { milliseconds: options.sendTimeout };
    switch (name) {
      case SO_ERROR:
        return [takeError(socket)];
      case SO_TYPE:
        return [socket.type];
      case SO_DOMAIN:
        return [socket.family];
      case SO_PROTOCOL:
        return [socket.protocol];
      case SO_ACCEPTCONN:
        return [Number(socket.role === "listener")];
      case SO_SNDLOWAT:
        return [1];
      case SO_LINGER:
        return [Number(options.linger.on), options.linger.seconds];
      case SO_RCVBUF:
        return [options.receiveBuffer || (socket.stream ? DEFAULT_RCVBUF : DEFAULT_UDP_BUFFER)];
      case SO_SNDBUF:
        return [options.sendBuffer || (socket.stream ? DEFAULT_SNDBUF : DEFAULT_UDP_BUFFER)];
    }
  }
  const limit = HOP_LIMITS.get(key);
  if (limit !== undefined) return [options[limit.field] || DEFAULT_HOP_LIMIT];
  const first = KEPT.get(key);
  return first === undefined ? -Errno.ENOPROTOOPT : [options.others.get(key) ?? first];
}

/** SO_ERROR, by which a program learns of what became of a non-blocking connect(). */
function takeError(socket: Socket): number {
  if (socket.state === State.Connecting) return 0;
  return socket.takeError();
}

export function getOption(
  memory: Memory, stream: ProgramStream, level: number, name: number, at: number, lengthAt: number,
): number {
  const room = memory.i32(lengthAt);
  if (room < 0) return -Errno.EINVAL;
  if (!(stream instanceof Pipe) && !hasLevel(stream, level)) return -Errno.EOPNOTSUPP;
  const value = stream instanceof Pipe ? pipeValue(stream, level, name) : valueOf(stream, level, name);
  if (typeof value === "number") return value;
  const words = Array.isArray(value) ? value : timeval(value.milliseconds, room);
  const octets = new Uint8Array(Int32Array.from(words).buffer);
  const length = Math.min(room, octets.length);
  memory.octets(at, length).set(octets.subarray(0, length));
  memory.setI32(lengthAt, length);
  return 0;
}

function pipeValue(pipe: Pipe, level: number, name: number): number[] | number {
  if (level !== SOL_SOCKET) return -Errno.EOPNOTSUPP;
  return [name === SO_TYPE ? pipe.type : name === SO_DOMAIN ? 1 : 0];
}

function timeval(milliseconds: number, room: number): number[] {
  const seconds = Math.floor(milliseconds / 1000);
  const micros = (milliseconds % 1000) * 1000;
  return room >= 16 ? [seconds, 0, micros, 0] : [seconds, micros];
}
