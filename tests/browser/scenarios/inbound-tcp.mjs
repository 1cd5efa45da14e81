import { getText } from "../client/http.mjs";
import { OctetReader } from "../client/reader.mjs";

export const about = "connections from outside reach a listening page by an external port, over IPv4 and IPv6";
export const egress = true;

export const host = {
  /** Sends `size` octets to an address of this machine and checks that the same come back. */
  async dial(_tools, address, port, size) {
    const { connect } = await import("node:net");
    const { randomBytes } = await import("node:crypto");
    const data = randomBytes(size);
    const socket = connect({ host: address, port, timeout: 20_000 });
    socket.on("timeout", () => socket.destroy(new Error(`${address} port ${port} says nothing`)));
    socket.end(data);
    const chunks = [];
    for await (const chunk of socket) chunks.push(chunk);
    if (!Buffer.concat(chunks).equals(data)) throw new Error("what came back is something else");
    return socket.bytesRead;
  },

  /** The error code of a connection that nobody takes; a listener of the gateway's machine ends a moment after its page's. */
  async refused(_tools, address, port) {
    const { connect } = await import("node:net");
    const attempt = () =>
      new Promise((resolve) => {
        const socket = connect({ host: address, port, timeout: 1500 });
        const end = (words) => (socket.destroy(), resolve(words));
        socket.on("connect", () => end("connected"));
        socket.on("timeout", () => end("ETIMEDOUT"));
        socket.on("error", (error) => end(error.code));
      });
    let outcome = await attempt();
    for (let again = 0; outcome === "connected" && again < 20; again++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      outcome = await attempt();
    }
    return outcome;
  },
};

export default async function (t) {
  const net = await t.open();
  for (const [family, local, outside] of [["ipv4", "0.0.0.0", "198.18.0.1"], ["ipv6", "::", "2001:2::1"]]) {
    const server = new net.TCPServerSocket(local, { external: { family } });
    const { readable, externalPort, externalAddress } = await server.opened;
    t.check(externalPort > 0 && externalAddress !== undefined, `no external address over ${family}`);
    const acceptor = readable.getReader();
    const accepting = acceptAll(acceptor);
    const sizes = await Promise.all(
      Array.from({ length: 20 }, (_, index) => t.host("dial", outside, externalPort, 1 + index * 10_000)),
    );
    t.equal(sizes.length, 20, "connections");
    // From the playground, which is outside of this machine's own namespace.
    const line = await getText(net, `/knock?port=${externalPort}`, { dnsQueryType: family });
    t.check(line.startsWith("knock knock from "), `a knock over ${family} heard "${line}"`);
    await acceptor.cancel();
    await accepting;
    acceptor.releaseLock();
    await server.close();
    const after = await t.host("refused", outside, externalPort);
    t.check(after !== "connected", `port ${externalPort} is still open after the server was closed`);
  }
  await wantedPort(t, net);
  return "20 connections and a knock each";
}

/** Sends everything back on each connection, until the listener ends. */
async function acceptAll(acceptor) {
  const all = [];
  for (;;) {
    const { value: socket, done } = await acceptor.read();
    if (done) break;
    const { readable, writable } = await socket.opened;
    all.push(readable.pipeTo(writable));
  }
  await Promise.all(all);
}

/** A port that the page names itself, which a second page cannot have. */
async function wantedPort(t, net) {
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const server = new net.TCPServerSocket("0.0.0.0", { external: { port } });
  t.equal((await server.opened).externalPort, port, "the external port that was asked for");
  const dialled = t.host("dial", "198.18.0.1", port, 100);
  const acceptor = (await server.opened).readable.getReader();
  const { value: socket } = await acceptor.read();
  const { readable, writable } = await socket.opened;
  t.check((await socket.opened).remotePort > 0, "the peer has no port");
  const reader = new OctetReader(readable);
  const writer = writable.getWriter();
  await writer.write(await reader.fill(new Uint8Array(100)));
  await writer.close();
  t.equal(await dialled, 100, "octets that came back");
}
