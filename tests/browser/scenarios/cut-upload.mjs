import { sleep } from "../client/context.mjs";
import { Echo } from "../client/echo.mjs";
import { expectedHash, put } from "../client/http.mjs";
import { mib, sequence } from "../client/octets.mjs";

export const about = "the WebSocket is cut 20 times during an upload; the connection survives and the hash matches";
export const deadline = 120;

const CUTS = 20;

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, t.size);
  const idle = await Echo.open(net);
  await idle.round();

  let cuts = 0;
  const receipt = await put(net, sequence(t.size), 65536, async (at) => {
    if (cuts < CUTS && at > ((cuts + 1) * t.size) / (CUTS + 2)) cuts += await t.host("cut");
    // Writing runs ahead of the tunnel by its buffers; the next cut shall meet octets under way again.
    else if (cuts < CUTS && (await t.host("tunnels")) === 0) await sleep(20);
  });
  t.equal(cuts, CUTS, "cuts");
  t.equal(receipt.octets, t.size, "octets that arrived");
  t.equal(receipt.sha256, expected, "the hash");
  await idle.round();
  await idle.close();
  return `${mib(t.size)}, ${cuts} cuts`;
}
