import { sleep } from "../client/context.mjs";
import { expectedHash, get } from "../client/http.mjs";
import { checkSequence, mib } from "../client/octets.mjs";

export const about = "a server that closes right after its last octet loses nothing, however slow the page reads";
export const egress = true;
export const deadline = 120;

const SIZE = 64 << 20;
/** Milliseconds between reads near the end, where the server has long gone. */
const PAUSE = 40;

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, SIZE);
  const { status, length, reader, socket } = await get(net, `/close?size=${SIZE}`);
  t.equal(status, 200, "status");
  t.equal(length, undefined, "Content-Length");
  let pauses = 0;
  const body = await reader.fill(new Uint8Array(SIZE), async (at) => {
    // Slow now and then at first, and for all of the last MiB: what is left then lies in buffers on the way.
    if (at > SIZE - (1 << 20) || (at >> 20) % 8 === 7) {
      pauses++;
      await sleep(at > SIZE - (1 << 20) ? PAUSE : 4);
    }
  });
  await reader.end();
  await checkSequence(body, expected);
  reader.release();
  await socket.close().catch(() => {});
  return `${mib(SIZE)}, ${pauses} pauses`;
}
