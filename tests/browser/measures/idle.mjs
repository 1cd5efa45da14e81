// Arguments: how many sockets are idle; seconds each way.
import { sleep } from "../client/context.mjs";
import { Echo, openTunnel, rates } from "../client/flows.mjs";

export const about = "one flow beside many sockets that do nothing";
export const host = { memory: ({ memory }) => memory() };

/** Connections opened at once. */
const BATCH = 250;
const WARM_UP = 0.5;

export default async function (t) {
  const [count, seconds] = t.args;
  const net = await openTunnel(t);
  const before = await t.host("memory");
  const idle = [];
  while (idle.length < count) {
    const echoes = Array.from({ length: Math.min(BATCH, count - idle.length) }, () => Echo.open(net));
    idle.push(...(await Promise.all(echoes)));
    await Promise.all(idle.slice(-echoes.length).map((echo) => echo.round()));
  }
  // Idle are those that were opened a while ago.
  await sleep(2500);
  const memory = ((await t.host("memory")) - before) / 1024 / count;
  const [down] = await rates(net, { count: 1, direction: "down", warmUp: WARM_UP, seconds });
  const [up] = await rates(net, { count: 1, direction: "up", warmUp: WARM_UP, seconds });
  // They are still there.
  await Promise.all(idle.slice(0, 100).map((echo) => echo.round()));
  return { down, up, ...(count > 0 && { "memory of a socket": memory }) };
}
