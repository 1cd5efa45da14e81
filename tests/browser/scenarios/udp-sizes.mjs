import { within } from "../client/context.mjs";
import { firstDifference, sequence } from "../client/octets.mjs";

export const about = "datagrams of every size come back whole, over IPv4 and IPv6";
export const egress = true;

const SIZES = [0, 1, 2, 7, 8, 512, 1471, 1472, 1473, 1500, 2960, 4000, 9000, 16384, 32768, 65000];
/** The longest payloads: 65,535 octets less the headers. */
const LONGEST = { ipv4: 65_507, ipv6: 65_487 };

export default async function (t) {
  const net = await t.open();
  for (const family of ["ipv4", "ipv6"]) {
    const longest = LONGEST[family];
    const socket = new net.UDPSocket({ remoteAddress: "echo.playground.test", remotePort: 7, dnsQueryType: family });
    const { readable, writable } = await socket.opened;
    const [reader, writer] = [readable.getReader(), writable.getWriter()];
    for (const size of [...SIZES, longest - 1, longest]) {
      const data = sequence(size, size);
      await writer.write({ data });
      const { value } = await within(reader.read(), `${size} octets over ${family}`);
      const at = firstDifference(value.data, data);
      t.check(at < 0, `${size} octets over ${family} came back as ${value.data.length}, different from ${at} on`);
    }
    await t.fails(tooLong(net, family, longest + 1), "EMSGSIZE", `${longest + 1} octets over ${family}`);
    reader.releaseLock();
    writer.releaseLock();
    await socket.close();
  }
  return `${SIZES.length + 2} sizes, to ${LONGEST.ipv4} and ${LONGEST.ipv6} octets`;
}

/** The failure is that of the write, or, where only the stack can tell, of the stream after it. */
async function tooLong(net, family, size) {
  const socket = new net.UDPSocket({ remoteAddress: "echo.playground.test", remotePort: 7, dnsQueryType: family });
  const writer = (await socket.opened).writable.getWriter();
  await writer.write({ data: new Uint8Array(size) });
  await within(writer.closed, "the failure of the stream");
}
