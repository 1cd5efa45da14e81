/** Checks options as the Direct Sockets text and Web IDL demand: whatever is wrong is a `TypeError` at once. */
import { isUnspecified, literalFamily, stripBrackets, type Endpoint, type IpFamily } from "../address.js";
import type { ExternalRequest, TcpTuning } from "../link/protocol.js";
import type {
  ExternalOptions,
  SocketDnsQueryType,
  TCPServerSocketOptions,
  TCPSocketOptions,
  UDPMessage,
  UDPSocketOptions,
} from "./types.js";

/** How long an external port outlives its tunnel, in seconds, where the program does not say. */
const DEFAULT_LIFETIME = 7200;

const UINT32_MAX = 0xffffffff;

/** An `[EnforceRange]` integer of Web IDL. */
function integer(name: string, value: unknown, least: number, most: number): number {
  const number = Math.trunc(Number(value));
  if (!Number.isFinite(number) || number < least || number > most) {
    throw new TypeError(`${name} must be an integer from ${least} to ${most}`);
  }
  return number;
}

function optional<T>(value: unknown, convert: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : convert(value);
}

function dictionary(value: unknown): object {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") throw new TypeError("options must be an object");
  return value;
}

function dnsQueryType(value: unknown): SocketDnsQueryType {
  if (value !== "ipv4" && value !== "ipv6") throw new TypeError('dnsQueryType must be "ipv4" or "ipv6"');
  return value;
}

function bufferSize(name: string, value: unknown): number | undefined {
  return optional(value, (size) => {
    const octets = integer(name, size, 0, UINT32_MAX);
    if (octets === 0) throw new TypeError(`${name} must be greater than zero`);
    return octets;
  });
}

/** A port that 0 does not stand for: to have one chosen, it is left out. */
function localPort(value: unknown): number {
  const port = integer("localPort", value, 0, 65535);
  if (port === 0) throw new TypeError("localPort must be greater than zero; leave it out to have a port chosen");
  return port;
}

function localLiteral(value: unknown): { address: string; family: IpFamily } {
  const address = stripBrackets(String(value));
  const family = literalFamily(address);
  if (family === undefined) throw new TypeError("localAddress must be an IP address");
  return { address, family };
}

/** The name or address to connect to. */
export function remoteHost(value: unknown): string {
  const host = stripBrackets(String(value));
  if (host === "") throw new TypeError("remoteAddress must not be empty");
  return host;
}

/** The port to connect to. */
export function remotePort(value: unknown): number {
  return integer("remotePort", value, 0, 65535);
}

function external(value: unknown, family: IpFamily): ExternalRequest | undefined {
  if (value === undefined || value === false) return undefined;
  const options: ExternalOptions = value === true ? {} : dictionary(value);
  return {
    port: integer("external.port", options.port ?? 0, 0, 65535),
    lifetime: integer("external.lifetime", options.lifetime ?? DEFAULT_LIFETIME, 1, UINT32_MAX),
    family: optional(options.family, dnsQueryType) ?? family,
  };
}

/** Checks {@link TCPSocketOptions}. */
export function tcpOptions(value: unknown): { tuning: TcpTuning; family?: IpFamily; split: boolean } {
  const options = dictionary(value) as TCPSocketOptions;
  const family = optional(options.dnsQueryType, dnsQueryType);
  const keepAliveDelay = optional(options.keepAliveDelay, (delay) => integer("keepAliveDelay", delay, 0, UINT32_MAX));
  if (keepAliveDelay !== undefined && keepAliveDelay < 1000) {
    throw new TypeError("keepAliveDelay must be at least 1000 milliseconds");
  }
  const receiveBufferSize = bufferSize("receiveBufferSize", options.receiveBufferSize);
  const sendBufferSize = bufferSize("sendBufferSize", options.sendBufferSize);
  const tuning: TcpTuning = {
    noDelay: Boolean(options.noDelay),
    ...(keepAliveDelay !== undefined && { keepAliveDelay }),
    ...(receiveBufferSize !== undefined && { receiveBufferSize }),
    ...(sendBufferSize !== undefined && { sendBufferSize }),
  };
  return { tuning, ...(family !== undefined && { family }), split: Boolean(options.split) };
}

interface Bound {
  readonly local: Endpoint;
  readonly ipv6Only: boolean;
  readonly external?: ExternalRequest;
}

/** What a listening and a bound UDP socket have in common. */
function bound(localAddress: unknown, options: TCPServerSocketOptions | UDPSocketOptions): Bound {
  const { address, family } = localLiteral(localAddress);
  const port = optional(options.localPort, localPort) ?? 0;
  const any = family === "ipv6" && isUnspecified(address);
  if (options.ipv6Only !== undefined && !any) {
    throw new TypeError('ipv6Only can only be given when localAddress is "::"');
  }
  const ipv6Only = Boolean(options.ipv6Only);
  const request = external(options.external, any && !ipv6Only ? "ipv4" : family);
  return { local: { address, port }, ipv6Only, ...(request && { external: request }) };
}

/** Checks {@link TCPServerSocketOptions}. */
export function serverOptions(localAddress: unknown, value: unknown): Bound & { backlog?: number } {
  const options = dictionary(value) as TCPServerSocketOptions;
  const backlog = optional(options.backlog, (length) => integer("backlog", length, 0, UINT32_MAX));
  if (backlog === 0) throw new TypeError("backlog must be greater than zero");
  return { ...bound(localAddress, options), ...(backlog !== undefined && { backlog }) };
}

/** What a checked {@link UDPSocketOptions} asks for. */
export interface UdpSettings extends Partial<Bound> {
  readonly ipv6Only: boolean;
  readonly remote?: Endpoint;
  readonly family?: IpFamily;
  readonly receiveBufferSize?: number;
}

/** Checks {@link UDPSocketOptions}. */
export function udpOptions(value: unknown): UdpSettings {
  const options = dictionary(value) as UDPSocketOptions;
  const receiveBufferSize = bufferSize("receiveBufferSize", options.receiveBufferSize);
  bufferSize("sendBufferSize", options.sendBufferSize);
  const size = receiveBufferSize !== undefined && { receiveBufferSize };
  if ((options.remoteAddress === undefined) !== (options.remotePort === undefined)) {
    throw new TypeError("remoteAddress and remotePort must be given together");
  }
  if (options.remoteAddress === undefined) {
    if (options.localAddress === undefined) throw new TypeError("either remoteAddress or localAddress must be given");
    if (options.dnsQueryType !== undefined) throw new TypeError("dnsQueryType goes with remoteAddress only");
    return { ...bound(options.localAddress, options), ...size };
  }
  for (const name of ["localAddress", "localPort", "ipv6Only", "external"] as const) {
    if (options[name] !== undefined) throw new TypeError(`${name} cannot be given together with remoteAddress`);
  }
  const family = optional(options.dnsQueryType, dnsQueryType);
  const remote = { address: remoteHost(options.remoteAddress), port: remotePort(options.remotePort) };
  return { remote, ipv6Only: false, ...(family !== undefined && { family }), ...size };
}

/** Checks the destination of a {@link UDPMessage}; `connected` sockets have theirs already. */
export function messageTarget(message: UDPMessage, connected: boolean): { to?: Endpoint; family?: IpFamily } {
  const { remoteAddress: address, remotePort: port, dnsQueryType: query } = message;
  if (connected) {
    if (address !== undefined || port !== undefined) {
      throw new TypeError("a connected UDPSocket sends to its own remote address only");
    }
    return {};
  }
  if (address === undefined || port === undefined) {
    throw new TypeError("a bound UDPSocket needs remoteAddress and remotePort in each message");
  }
  const family = optional(query, dnsQueryType);
  return { to: { address: remoteHost(address), port: remotePort(port) }, ...(family !== undefined && { family }) };
}
