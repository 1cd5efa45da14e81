import { Echo } from "../client/echo.mjs";
import { expectedHash, get } from "../client/http.mjs";
import { checkSequence, mib } from "../client/octets.mjs";

export const about = "the WebSocket is cut 20 times during a download; the connection survives and the hash matches";
export const deadline = 120;

const CUTS = 20;

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, t.size);
  const idle = await Echo.open(net);
  await idle.round();
  let reconnects = 0;
  net.status.addEventListener("reconnecting", () => reconnects++);

  const { reader } = await get(net, `/blob?size=${t.size}`);
  let cuts = 0;
  const body = await reader.fill(new Uint8Array(t.size), async (at) => {
    // A cut while the last one is still being mended finds no tunnel, and does not count.
    if (cuts < CUTS && at > ((cuts + 1) * t.size) / (CUTS + 2)) cuts += await t.host("cut");
  });
  await reader.end();
  t.equal(cuts, CUTS, "cuts");
  await checkSequence(body, expected);
  await idle.round();
  await idle.close();
  t.check(reconnects >= CUTS, `the status told of ${reconnects} of ${CUTS} cuts`);
  return `${mib(t.size)}, ${cuts} cuts`;
}
