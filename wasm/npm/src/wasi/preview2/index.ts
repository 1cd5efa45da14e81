/** wasi:sockets 0.2 for components that jco has made into modules, and what belongs to it: pollables, streams and the clock. */
import type { Channel } from "../../emscripten/control.js";
import { MAX_SOCKETS } from "../../posix/layout.js";
import type { Family } from "./addresses.js";
import type { Quota } from "./base.js";
import { InputStream, IoError, OutputStream, poll, Pollable } from "./io.js";
import { ResolveAddressStream } from "./names.js";
import { TcpSocket } from "./tcp.js";
import { IncomingDatagramStream, OutgoingDatagramStream, UdpSocket } from "./udp.js";

/** Interfaces by their names, such as `wasi:sockets/tcp`. */
export type Interfaces = Readonly<Record<string, unknown>>;

export interface Preview2Options {
  /** Takes what the program writes to its standard output, in the place of the shim. */
  stdout?: ((octets: Uint8Array) => void) | undefined;
  /** The same for the standard error. */
  stderr?: ((octets: Uint8Array) => void) | undefined;
}

/** Room that a stream without an end has. */
const ROOM = 1 << 20;

/** All of a network is one. */
class Network {}

function sockets(channel: Channel): Interfaces {
  const quota: Quota = { open: 0, limit: MAX_SOCKETS };
  const network = new Network();
  return {
    "wasi:sockets/instance-network": { instanceNetwork: () => network },
    "wasi:sockets/ip-name-lookup": {
      ResolveAddressStream,
      resolveAddresses: (_: unknown, name: string) => new ResolveAddressStream(channel, name),
    },
    "wasi:sockets/network": { Network, networkErrorCode: ({ code }: IoError) => code },
    "wasi:sockets/tcp": { TcpSocket },
    "wasi:sockets/tcp-create-socket": { createTcpSocket: (family: Family) => TcpSocket.open(channel, family, quota) },
    "wasi:sockets/udp": { IncomingDatagramStream, OutgoingDatagramStream, UdpSocket },
    "wasi:sockets/udp-create-socket": { createUdpSocket: (family: Family) => UdpSocket.open(channel, family, quota) },
  };
}

function clocks(channel: Channel): Interfaces {
  const until = (milliseconds: number): Pollable => new Pollable(channel, () => false, milliseconds);
  return {
    "wasi:clocks/monotonic-clock": {
      now: () => BigInt(Math.round(performance.now() * 1e6)),
      resolution: () => 100_000n,
      subscribeInstant: (instant: bigint) => until(Number(instant) / 1e6),
      subscribeDuration: (duration: bigint) => until(performance.now() + Number(duration) / 1e6),
    },
  };
}

function output(channel: Channel, write: (octets: Uint8Array) => void): OutputStream {
  return new OutputStream(channel, { room: () => ROOM, write: (octets) => write(octets.slice()), ready: () => true });
}

/** The interfaces of a shim, with ours in the place of some. */
export function preview2(channel: Channel, shim: Interfaces, { stdout, stderr }: Preview2Options): Interfaces {
  const ours: Interfaces = {
    ...sockets(channel),
    ...clocks(channel),
    "wasi:io/error": { Error: IoError },
    "wasi:io/poll": { Pollable, poll: (pollables: readonly Pollable[]) => poll(channel, pollables) },
    "wasi:io/streams": { InputStream, OutputStream },
    ...(stdout && { "wasi:cli/stdout": { getStdout: () => output(channel, stdout) } }),
    ...(stderr && { "wasi:cli/stderr": { getStderr: () => output(channel, stderr) } }),
  };
  // A shim may name its interfaces with a version.
  const versions = new Set(["", ...Object.keys(shim).map((name) => /@.*$/.exec(name)?.[0] ?? "")]);
  const named = [...versions].flatMap((version) => Object.entries(ours).map(([name, all]) => [name + version, all]));
  return { ...shim, ...Object.fromEntries(named) };
}
