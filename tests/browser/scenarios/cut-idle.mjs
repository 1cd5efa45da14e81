import { sleep, within } from "../client/context.mjs";
import { Echo } from "../client/echo.mjs";

export const about = "after a cut all kinds of sockets go on, the status tells of it, and nothing is opened twice";
export const egress = true;

export const host = {
  /** The first line that an address of this machine answers with. */
  async ask({ cut }, port) {
    const { connect } = await import("node:net");
    const socket = connect({ host: "198.18.0.1", port, timeout: 20_000 });
    socket.on("timeout", () => socket.destroy(new Error("no answer")));
    cut();
    let text = "";
    for await (const data of socket) text += data;
    return text;
  },
};

export default async function (t) {
  const net = await t.open();
  const states = [];
  for (const state of ["reconnecting", "connected", "closed"]) {
    net.status.addEventListener(state, () => states.push(state));
  }
  const before = net.status.addresses.join();
  const echo = await Echo.open(net);
  const udp = new net.UDPSocket({ remoteAddress: "echo.playground.test", remotePort: 7 });
  const streams = await udp.opened;
  const [reader, writer] = [streams.readable.getReader(), streams.writable.getWriter()];
  const server = new net.TCPServerSocket("0.0.0.0", { external: true });
  const { readable, externalPort } = await server.opened;

  t.equal(await t.host("cut"), 1, "tunnels that were cut");
  // All of this is asked for while there is no tunnel.
  const [time] = await Promise.all([
    within(echo.round(), "an open socket"),
    within(Echo.open(net).then((fresh) => fresh.close()), "a new socket"),
    within(net.resolve("discard.playground.test"), "a name"),
    writer.write({ data: new Uint8Array(100) }),
  ]);
  t.equal((await within(reader.read(), "UDP")).value.data.length, 100, "octets of the datagram");

  const asked = t.host("ask", externalPort);
  const { value: incoming } = await within(readable.getReader().read(), "a connection from outside");
  const outgoing = (await incoming.opened).writable.getWriter();
  await outgoing.write(new TextEncoder().encode("still here"));
  await outgoing.close();
  t.equal(await asked, "still here", "what the outside hears");

  await sleep(200);
  t.equal(states.join(), "reconnecting,connected,reconnecting,connected", "the states");
  t.equal(net.status.addresses.join(), before, "the addresses");
  t.equal(await t.host("tunnels"), 1, "open tunnels");
  return `the first echo after ${time.toFixed(0)} ms`;
}
