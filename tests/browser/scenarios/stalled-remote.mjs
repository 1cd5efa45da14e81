import { sleep, within } from "../client/context.mjs";
import { Echo, Heartbeat } from "../client/echo.mjs";
import { OctetReader } from "../client/reader.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";

export const about = "a remote that never reads blocks only its own socket; one that pauses gets every octet";
export const egress = true;
export const deadline = 120;

const NEVER_READS = 4;
const PAUSES = 6;
const PIECE = 64 << 10;
/** Octets that fit into all buffers up to the remote: the page's, the stack's, and Linux's (6 MiB by default). */
const BOUND = 24 << 20;

export default async function (t) {
  const net = await t.open();
  const heartbeat = new Heartbeat(await Echo.open(net));
  const { accepted, writer } = await fillUp(t, net);
  const fresh = await within(Echo.open(net), "a new connection beside it");
  await within(fresh.round(1 << 20), "an echo of 1 MiB beside it");
  await within(fresh.close(), "the end of another connection");
  await within(pausing(t, net), "a remote that pauses for 5 s");
  const figures = await heartbeat.stop();

  await within(writer.abort(), "giving the stalled connection up");
  return `${mib(accepted)} accepted, ${figures}`;
}

/** Writes until nothing has been taken for two seconds. */
async function fillUp(t, net) {
  const socket = new net.TCPSocket("www.playground.test", NEVER_READS);
  socket.closed.catch(() => {});
  const writer = (await socket.opened).writable.getWriter();
  const piece = new Uint8Array(PIECE);
  let accepted = 0;
  for (;;) {
    const written = writer.write(piece).then(() => true);
    written.catch(() => {});
    if (!(await Promise.race([written, sleep(2000)]))) return { accepted, writer };
    accepted += PIECE;
    t.check(accepted < BOUND, `${mib(accepted)} were accepted for a remote that never reads`);
  }
}

async function pausing(t, net) {
  const data = sequence(16 << 20);
  const socket = new net.TCPSocket("www.playground.test", PAUSES);
  const { readable, writable } = await socket.opened;
  const writer = writable.getWriter();
  for (let at = 0; at < data.length; at += PIECE) await writer.write(data.subarray(at, at + PIECE));
  await writer.close();
  const receipt = JSON.parse(await new OctetReader(readable).line());
  t.equal(receipt.octets, data.length, "octets that a pausing remote got");
  t.equal(receipt.sha256, await sha256(data), "the hash of what a pausing remote got");
}
