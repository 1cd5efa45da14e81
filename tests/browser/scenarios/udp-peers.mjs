import { within } from "../client/context.mjs";

export const about = "one bound UDP socket speaks with several peers of both families, and tells them apart";
export const egress = true;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export default async function (t) {
  const net = await t.open();
  const socket = new net.UDPSocket({ localAddress: "::" });
  const { readable, writable } = await socket.opened;
  const [reader, writer] = [readable.getReader(), writable.getWriter()];
  const peers = [
    { remoteAddress: "198.18.0.2", remotePort: 7 },
    { remoteAddress: "2001:2::2", remotePort: 7 },
    { remoteAddress: "echo.playground.test", remotePort: 7, dnsQueryType: "ipv4" },
    { remoteAddress: "chargen.playground.test", remotePort: 19, dnsQueryType: "ipv6" },
  ];
  for (const [index, peer] of peers.entries()) {
    const name = `${peer.remoteAddress} port ${peer.remotePort}`;
    await writer.write({ data: encoder.encode(`hello ${index}`), ...peer });
    const { value } = await within(reader.read(), name);
    t.equal(value.remotePort, peer.remotePort, `the port that ${name} answers from`);
    const family = value.remoteAddress.includes(":") ? "ipv6" : "ipv4";
    const expected = peer.dnsQueryType ?? (peer.remoteAddress.includes(":") ? "ipv6" : "ipv4");
    t.equal(family, expected, `the family that ${name} answers over`);
    if (peer.remotePort === 7) t.equal(decoder.decode(value.data), `hello ${index}`, `what ${name} answers`);
    else t.equal(value.data.length, "hello 3".length, "characters of chargen");
  }
  return `${peers.length} peers`;
}
