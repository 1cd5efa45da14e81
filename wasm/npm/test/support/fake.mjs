// A channel without an engine: the test says what the engine says.
import { internals } from "./internals.mjs";

const { Link, Network } = await internals("link/link", "network");

/** Lets microtasks and streams settle. */
export const settle = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

export function fakeNetwork() {
  const sent = [];
  const channel = {
    post: (commands) => sent.push(...structuredClone(commands)),
    onevents: () => {},
    onfailure: () => {},
    terminate: () => {},
  };
  const net = new Network(new Link(channel));
  return {
    net,
    /** Commands so far; each call gives those since the last. */
    async commands(op) {
      await settle();
      const all = sent.splice(0);
      return op === undefined ? all : all.filter((command) => command.op === op);
    },
    say: (...events) => channel.onevents(events),
    fail: (failure) => channel.onfailure(failure),
  };
}

export const endpoint = (address, port) => ({ address, port });

/** A connected TCPSocket with the engine's side of it. */
export async function openTcp(fake = fakeNetwork(), options = undefined) {
  const socket = new fake.net.TCPSocket("192.0.2.1", 80, options);
  const [{ handle }] = await fake.commands("connect");
  const opened = { local: endpoint("100.64.0.2", 40000), remote: endpoint("192.0.2.1", 80) };
  fake.say({ event: "opened", handle, opened });
  return { ...fake, socket, handle, info: await socket.opened };
}

export const octets = (length, start = 0) => Uint8Array.from({ length }, (_, i) => (start + i) & 255);
