import { sleep } from "../client/context.mjs";
import { CUTS, Cuts } from "../client/cuts.mjs";
import { Echo } from "../client/echo.mjs";
import { expectedHash, put } from "../client/http.mjs";
import { mib, sequence } from "../client/octets.mjs";

export const about = "the WebSocket is cut 20 times during an upload; the connection survives and the hash matches";
export const deadline = 120;
export const egress = true;

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, t.size);
  const idle = await Echo.open(net);
  await idle.round();

  const cuts = new Cuts(t, t.size);
  const receipt = await put(net, sequence(t.size), 65536, async (at) => {
    await cuts.reached(at);
    // Writing runs ahead of the tunnel by its buffers; the next cut shall meet octets under way again.
    while (!cuts.finished && (await t.host("tunnels")) === 0) await sleep(20);
  });
  t.equal(cuts.done, CUTS, "cuts");
  t.equal(receipt.octets, t.size, "octets that arrived");
  t.equal(receipt.sha256, expected, "the hash");
  await idle.round();
  await idle.close();
  return `${mib(t.size)}, ${CUTS} cuts`;
}
