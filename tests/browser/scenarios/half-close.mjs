import { OctetReader } from "../client/reader.mjs";
import { firstDifference, sequence } from "../client/octets.mjs";

export const about = "half-close works both ways";
export const egress = true;

const SIZE = 1 << 20;

export const host = {
  /** Connects, ends its own direction at once, and returns how many octets came afterwards. */
  async endFirst(_tools, port) {
    const { connect } = await import("node:net");
    const socket = connect({ host: "198.18.0.1", port, allowHalfOpen: true });
    socket.end("over to you\n");
    let octets = 0;
    for await (const data of socket) octets += data.length;
    return octets;
  },
};

export default async function (t) {
  const net = await t.open();
  await oursFirst(t, net);
  await theirsFirst(t, net);
  return "both ways";
}

/** Our end first: what the other side sends afterwards still comes. */
async function oursFirst(t, net) {
  const data = sequence(SIZE);
  const socket = new net.TCPSocket("echo.playground.test", 7);
  const { readable, writable } = await socket.opened;
  const writer = writable.getWriter();
  const reader = new OctetReader(readable);
  const written = writer.write(data).then(() => writer.close());
  const back = await reader.fill(new Uint8Array(SIZE));
  await written;
  t.equal(firstDifference(back, data), -1, "the first wrong octet of the echo");
  await reader.end();
  await socket.closed;
}

/** Their end first: what we send afterwards still arrives. */
async function theirsFirst(t, net) {
  const server = new net.TCPServerSocket("0.0.0.0", { external: true });
  const { readable, externalPort } = await server.opened;
  const arrived = t.host("endFirst", externalPort);
  const acceptor = readable.getReader();
  const { value: socket } = await acceptor.read();
  const streams = await socket.opened;
  const reader = new OctetReader(streams.readable);
  t.equal(await reader.line(), "over to you", "what they say");
  await reader.end();
  const writer = streams.writable.getWriter();
  await writer.write(sequence(SIZE));
  await writer.close();
  t.equal(await arrived, SIZE, "octets that arrived after their end");
  await socket.closed;
  acceptor.releaseLock();
  await server.close();
}
