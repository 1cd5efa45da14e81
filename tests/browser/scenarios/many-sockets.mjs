import { Echo } from "../client/echo.mjs";

export const about = "1,000 sockets are open at once, each echoing twice";
export const deadline = 120;
export const egress = true;

const COUNT = 1000;

export default async function (t) {
  const net = await t.open();
  const start = performance.now();
  const echoes = await Promise.all(Array.from({ length: COUNT }, () => Echo.open(net, {})));
  const opened = performance.now() - start;
  for (let turn = 0; turn < 2; turn++) await Promise.all(echoes.map((echo) => echo.round(512)));
  const ports = new Set(await Promise.all(echoes.map(async ({ socket }) => portsOf(await socket.opened))));
  t.equal(ports.size, COUNT, "different pairs of local port and remote address");
  await Promise.all(echoes.map((echo) => echo.close()));
  return `opened in ${opened.toFixed(0)} ms`;
}

function portsOf({ localPort, remoteAddress }) {
  return `${localPort} ${remoteAddress}`;
}
