import { sleep, within } from "../client/context.mjs";
import { sequence } from "../client/octets.mjs";

export const about = "of 1,000 datagrams of 512 octets at one a millisecond, none is lost";
export const egress = true;

const COUNT = 1000;
const SIZE = 512;

export default async function (t) {
  const net = await t.open();
  const socket = new net.UDPSocket({ remoteAddress: "echo.playground.test", remotePort: 7 });
  const { readable, writable } = await socket.opened;
  const [reader, writer] = [readable.getReader(), writable.getWriter()];
  const sent = [];
  const times = [];
  const seen = new Set();

  const receive = async () => {
    while (seen.size < COUNT) {
      const { value } = await reader.read();
      const index = new DataView(value.data.buffer, value.data.byteOffset).getUint32(0);
      t.equal(value.data.length, SIZE, `octets of datagram ${index}`);
      t.check(!seen.has(index), `datagram ${index} came twice`);
      seen.add(index);
      times.push(performance.now() - sent[index]);
    }
  };
  const received = receive();
  received.catch(() => {});
  const start = performance.now();
  while (sent.length < COUNT) {
    while (sent.length < Math.min(COUNT, performance.now() - start)) {
      const data = sequence(SIZE);
      new DataView(data.buffer).setUint32(0, sent.length);
      sent.push(performance.now());
      await writer.write({ data });
    }
    await sleep(0);
  }
  await within(received, "the last datagrams").catch((error) => {
    throw new Error(`${COUNT - seen.size} of ${COUNT} are lost (${error.message})`);
  });
  times.sort((a, b) => a - b);
  return `none lost, ${times[COUNT / 2].toFixed(1)} ms at the median, ${times.at(-1).toFixed(1)} ms at most`;
}
