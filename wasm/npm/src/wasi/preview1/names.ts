/** WasmEdge's `sock_getaddrinfo`. */
import { literalFamily } from "../../address.js";
import { AF_INET, AF_INET6 } from "../../emscripten/constants.js";
import { encodeAddress } from "../../emscripten/sockaddr.js";
import { INET4, INET6, STREAM } from "./address.js";
import { Failed, type Context } from "./context.js";
import { WasiErrno } from "./errno.js";

const PASSIVE = 1;
const CANONNAME = 2;
const NUMERICHOST = 4;
const NUMERICSERV = 8;
const KNOWN_FLAGS = 0x7f;

/** `__wasi_addrinfo_t`: flags, family, type, protocol, length, address, name, its length, next. */
const ENTRY = { flags: 0, family: 2, type: 3, protocol: 4, length: 8, address: 12, nameLength: 20, next: 24 };
/** `__wasi_sockaddr_t`: family, length and pointer of what follows a family in a `sockaddr`. */
const SOCKADDR = { family: 0, length: 4, data: 8 };

const TCP = 1;
const UDP = 2;

/** Services by name; there is no `/etc/services`. */
const SERVICES: Readonly<Record<string, number>> = {
  domain: 53, echo: 7, ftp: 21, http: 80, https: 443, imap2: 143, imaps: 993, mysql: 3306, ntp: 123, pop3: 110,
  postgresql: 5432, redis: 6379, smtp: 25, ssh: 22, submission: 587, telnet: 23,
};

interface Hints {
  readonly flags: number;
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
}

/** Text up to its length or its end in C. */
function text(context: Context, at: number, length: number): string {
  const octets = context.octets(at, length).slice();
  const end = octets.indexOf(0);
  return new TextDecoder().decode(end < 0 ? octets : octets.subarray(0, end));
}

function readHints(context: Context, at: number): Hints {
  const octets = context.octets(at, 5);
  const flags = context.memory.u16(at + ENTRY.flags);
  const [family = 0, type = 0, protocol = 0] = octets.subarray(ENTRY.family);
  if ((flags & ~KNOWN_FLAGS) !== 0) throw new Failed(WasiErrno.AIBADFLAG);
  if (family > INET6) throw new Failed(WasiErrno.AIFAMILY);
  return { flags, family, type, protocol };
}

function portOf(service: string, flags: number): number {
  if (service === "") return 0;
  if (/^\d+$/.test(service)) {
    if (Number(service) > 0xffff) throw new Failed(WasiErrno.AISERVICE);
    return Number(service);
  }
  const known = (flags & NUMERICSERV) === 0 ? SERVICES[service] : undefined;
  if (known === undefined) throw new Failed((flags & NUMERICSERV) === 0 ? WasiErrno.AISERVICE : WasiErrno.AINONAME);
  return known;
}

const FAILURES: Readonly<Record<number, number>> = {
  [WasiErrno.ENOENT]: WasiErrno.AINONAME,
  [WasiErrno.EINVAL]: WasiErrno.AINONAME,
  [WasiErrno.EAGAIN]: WasiErrno.AIAGAIN,
  [WasiErrno.ETIMEDOUT]: WasiErrno.AIAGAIN,
};

function addressesOf(context: Context, node: string, { flags, family }: Hints): string[] {
  const wanted = family === INET4 ? 4 : family === INET6 ? 6 : 0;
  if (node === "") {
    const own = (flags & PASSIVE) !== 0 ? ["0.0.0.0", "::"] : ["127.0.0.1", "::1"];
    return own.filter((address) => wanted === 0 || (wanted === 6) === address.includes(":"));
  }
  if ((flags & NUMERICHOST) !== 0 && literalFamily(node) === undefined) throw new Failed(WasiErrno.AINONAME);
  const { channel } = context;
  const failed = channel.call({ op: "resolve", name: node, family: wanted });
  if (failed !== 0) throw new Failed(FAILURES[failed] ?? WasiErrno.AIFAIL);
  return channel.addresses;
}

/** As in C: the family's own fields follow the family. WasmEdge writes all of them, whatever length it was given. */
function writeEntry(context: Context, at: number, address: string, port: number, hints: Hints): void {
  const { memory } = context;
  const v6 = literalFamily(address) === "ipv6";
  const type = hints.type === 0 ? STREAM : hints.type;
  const protocol = hints.protocol === 0 ? (type === STREAM ? TCP : UDP) : hints.protocol;
  const family = v6 ? INET6 : INET4;
  const sockaddr = encodeAddress({ address, port }, v6 ? AF_INET6 : AF_INET);
  context.octets(at + ENTRY.family, 3).set([family, type, protocol]);
  memory.setU16(at + ENTRY.flags, hints.flags);
  memory.setI32(at + ENTRY.length, sockaddr.length);
  memory.setI32(at + ENTRY.nameLength, 0);
  const into = memory.i32(at + ENTRY.address) >>> 0;
  context.octets(into, 1).set([family]);
  memory.setI32(into + SOCKADDR.length, sockaddr.length - 2);
  context.octets(memory.i32(into + SOCKADDR.data), sockaddr.length - 2).set(sockaddr.subarray(2));
}

/** Fills the list of entries at `*resultAt`, at most `room` of them, and tells their number. */
export function getAddressInfo(
  context: Context, nodeAt: number, nodeLength: number, serviceAt: number, serviceLength: number, hintsAt: number,
  resultAt: number, room: number, lengthAt: number,
): void {
  const { memory } = context;
  const node = text(context, nodeAt, nodeLength);
  const service = text(context, serviceAt, serviceLength);
  const hints = readHints(context, hintsAt);
  if (node === "" && service === "") throw new Failed(WasiErrno.AINONAME);
  if (node === "" && (hints.flags & CANONNAME) !== 0) throw new Failed(WasiErrno.AIBADFLAG);
  if (room < 1) throw new Failed(WasiErrno.AIMEMORY);
  const port = portOf(service, hints.flags);
  const addresses = addressesOf(context, node, hints).slice(0, room);
  let entry = memory.i32(resultAt) >>> 0;
  let written = 0;
  for (const address of addresses) {
    if (entry === 0) break;
    writeEntry(context, entry, address, port, hints);
    written += 1;
    entry = memory.i32(entry + ENTRY.next) >>> 0;
  }
  memory.setI32(lengthAt, written);
}
