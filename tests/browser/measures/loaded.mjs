// Arguments: 0 none, 1 down or 2 up; seconds; Mbit/s of the link, or 0 where it has no limit; 1 for a relay with a WebSocket
// for each flow in place of the tunnel.
import { openRelay } from "../client/bare.mjs";
import { Bulk, Echo, openTunnel, quantile } from "../client/flows.mjs";

export const about = "how long an echo takes beside a bulk flow";

/** Milliseconds between two echoes. */
const GAP = 20;
/** Echoes beside nothing. */
const IDLE_ROUNDS = 60;

export default async function (t) {
  const [way, seconds, link, relay] = t.args;
  const net = relay === 1 ? openRelay(t.relay) : await openTunnel(t);
  const echo = await Echo.open(net);
  const idle = await echo.rounds(GAP, (count) => count < IDLE_ROUNDS);
  if (way === 0) return figures(idle);

  const bulk = await Bulk.open(net, way === 1 ? "down" : "up");
  const opened = performance.now();
  const elapsed = () => (performance.now() - opened) / 1000;
  // At first buffers fill, which is no use of the line.
  const warmUp = seconds / 3;
  await echo.rounds(GAP, () => elapsed() < warmUp);
  const [start, before] = [performance.now(), bulk.octets];
  const times = await echo.rounds(GAP, () => elapsed() < warmUp + seconds);
  const used = ((bulk.octets - before) * 8) / 1e3 / (performance.now() - start);
  await bulk.stop();
  return { ...figures(times), ...(link > 0 && { "link used": (used / link) * 100 }) };
}

function figures(times) {
  return { echo: quantile(times), "echo, 95 %": quantile(times, 0.95) };
}
