import { within } from "../client/context.mjs";
import { OctetReader } from "../client/reader.mjs";

export const about = "TLS over the tunnel: at once and by startTls(), ALPN, and every fault of a certificate told apart";
export const egress = true;
export const host = {
  servers: async () => (await import("../harness/servers.mjs")).startServer("secure"),
};

const HOST = "www.playground.test";
const encoder = new TextEncoder();

export default async function (t) {
  const { ca, ports } = await t.host("servers");
  const { tls } = await t.load("tls");
  const net = await t.open({ tls });
  const at = (port, options) => net.connect({ hostname: HOST, port }, { secureTransport: "on", roots: ca, ...options });

  await echoes(t, at(ports.echo, { alpn: ["nothing", "webtun-test"] }), "webtun-test");
  await echoes(t, at(ports.old), null);
  await bulk(t, at(ports.echo), Math.min(t.size, 8 << 20));
  await upgrades(t, net, ports.starttls, ca);

  const fails = async (socket, code, what) => {
    const error = await t.fails(within(socket.opened, what), code, what);
    await t.fails(within(socket.closed, what), code, `${what}, closed`);
    await t.fails(within(socket.readable.getReader().read(), what), code, `${what}, reading`);
    return error.message;
  };
  await fails(at(ports.expired), "CERT_HAS_EXPIRED", "an expired certificate");
  const wrong = await fails(at(ports.echo, { sni: "other.example" }), "ERR_TLS_CERT_ALTNAME_INVALID", "a wrong name");
  t.check(wrong.includes("other.example"), `the message is ${wrong}`);
  await fails(at(ports.echo, { roots: undefined }), "UNABLE_TO_GET_ISSUER_CERT", "an authority that nobody knows");
  await fails(at(80), "EPROTO", "a server without TLS");
  await fails(at(ports.echo, { alpn: ["nothing"] }), "EPROTO", "no common protocol");
  await fails(at(1), "ECONNREFUSED", "a port where nobody listens");
  await cut(t, at(ports.cut));
  return `${wrong}`;
}

async function echoes(t, socket, alpn) {
  const writer = socket.writable.getWriter();
  // Before the connection is there.
  const written = writer.write(encoder.encode("hidden"));
  const info = await within(socket.opened, "the handshake");
  t.equal(info.alpn, alpn, "the protocol");
  await written;
  const reader = socket.readable.getReader({ mode: "byob" });
  const { value } = await within(reader.read(new Uint8Array(100)), "the echo");
  t.equal(new TextDecoder().decode(value), "hidden", "the echo");
  await writer.close();
  const { done } = await within(reader.read(new Uint8Array(1)), "the end");
  t.check(done, "there is more than the echo");
  await within(socket.closed, "the end of the connection");
}

/** As much as does not fit into any buffer on the way, both ways at once. */
async function bulk(t, socket, size) {
  const data = new Uint8Array(size).map((_, at) => at ^ (at >> 8));
  const writer = socket.writable.getWriter();
  const sent = writer.write(data).then(() => writer.close());
  let at = 0;
  for await (const chunk of socket.readable) {
    for (const octet of chunk) if (octet !== data[at++]) throw new Error(`a wrong octet at ${at - 1}`);
  }
  await sent;
  t.equal(at, size, "octets echoed");
}

async function upgrades(t, net, port, roots) {
  const plain = net.connect({ hostname: HOST, port }, { secureTransport: "starttls", roots });
  const reader = new OctetReader(plain.readable);
  const writer = plain.writable.getWriter();
  t.equal(await reader.line(), "ready", "the greeting");
  await writer.write(encoder.encode("STARTTLS\n"));
  t.equal(await reader.line(), "go", "the answer");
  reader.release();
  writer.releaseLock();
  const socket = plain.startTls();
  t.check(socket.upgraded && socket.secureTransport === "on", "the new socket is not upgraded");
  let refused;
  try {
    plain.startTls();
  } catch (error) {
    refused = error;
  }
  t.equal(refused?.name, "InvalidStateError", "startTls() twice");
  await echoes(t, socket, null);
}

/** An end below TLS is no end of the data. */
async function cut(t, socket) {
  const reader = socket.readable.getReader();
  const { value } = await within(reader.read(), "what comes before the cut");
  t.equal(new TextDecoder().decode(value), "some of it\n", "what comes before the cut");
  await t.fails(within(reader.read(), "the cut"), "ECONNRESET", "the cut");
}
