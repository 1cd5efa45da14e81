import { CUTS, Cuts } from "../client/cuts.mjs";
import { Echo } from "../client/echo.mjs";
import { expectedHash, get } from "../client/http.mjs";
import { checkSequence, mib } from "../client/octets.mjs";

export const about = "the WebSocket is cut 20 times during a download; the connection survives and the hash matches";
export const deadline = 120;
export const egress = true;

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, t.size);
  const idle = await Echo.open(net);
  await idle.round();
  let reconnects = 0;
  net.status.addEventListener("reconnecting", () => reconnects++);

  const { reader } = await get(net, `/blob?size=${t.size}`);
  const cuts = new Cuts(t, t.size);
  const body = await reader.fill(new Uint8Array(t.size), (at) => cuts.reached(at));
  await reader.end();
  t.equal(cuts.done, CUTS, "cuts");
  await checkSequence(body, expected);
  await idle.round();
  await idle.close();
  t.check(reconnects >= CUTS, `the status told of ${reconnects} of ${CUTS} cuts`);
  return `${mib(t.size)}, ${CUTS} cuts`;
}
