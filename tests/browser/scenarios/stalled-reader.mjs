import { sleep } from "../client/context.mjs";
import { Echo, Heartbeat } from "../client/echo.mjs";
import { expectedHash, get } from "../client/http.mjs";
import { checkSequence, mib } from "../client/octets.mjs";

export const about = "a page that stops reading keeps what is under way bounded, and then gets every octet";
export const deadline = 120;
export const egress = true;

const SIZE = 64 << 20;
/** Milliseconds without a read. */
const STALL = 10_000;
/** Octets that may come into the page's machine while nobody reads: the windows of page, stack and gateway. */
const BOUND = 16 << 20;

export const host = {
  /** Octets that have come from the playground, TCP's own retransmissions included. */
  async fromServers() {
    const { readFileSync } = await import("node:fs");
    // Of this network namespace, which /sys may not be of.
    const [, octets] = /wtplay0:\s*(\d+)/.exec(readFileSync("/proc/net/dev", "utf8"));
    return Number(octets);
  },
};

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, SIZE);
  const heartbeat = new Heartbeat(await Echo.open(net));
  const { reader } = await get(net, `/blob?size=${SIZE}`);
  const body = new Uint8Array(SIZE);
  await reader.fill(body.subarray(0, 1 << 20));

  const before = { tunnel: (await t.host("octets")).down, servers: await t.host("fromServers") };
  await sleep(STALL);
  const tunnel = (await t.host("octets")).down - before.tunnel;
  const servers = (await t.host("fromServers")) - before.servers;
  t.check(tunnel < BOUND, `${mib(tunnel)} came through the tunnel although nobody read`);
  t.check(servers < BOUND, `the servers were let to send ${mib(servers)} although nobody read`);

  await reader.fill(body.subarray(1 << 20));
  await reader.end();
  await checkSequence(body, expected);
  return `${mib(tunnel)} came meanwhile, ${await heartbeat.stop()}`;
}
