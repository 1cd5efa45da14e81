// Arguments: 0 for emcc's own sockets with websockify and a SOCKS5 server, 1 for ours, 2 for ours with connections that the
// gateway makes, 3 for emcc's own with a relay, which is the least that can stand behind them; MiB of the long connection;
// how many short ones.
import { openTunnel } from "../client/flows.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program's connections, by webtun and by websockify";
export const programs = ["flows"];

const HOST = "198.18.0.2";
/** Where bench_page has the relays, at ports that are higher by so much, and websockify. */
const GATEWAY = "10.81.0.1";
const ABOVE = [8000];
const PROXY = [GATEWAY, 8078];

export default async function (t) {
  const [variant, mib, count] = t.args;
  const net = variant === 0 || variant === 3 ? undefined : await openTunnel(t);
  const program = net === undefined ? "flows-sockfs" : "flows";
  const host = variant === 3 ? GATEWAY : HOST;
  const way = [PROXY, [], [], ABOVE][variant];
  const figure = async (...args) => {
    const given = net && { attach: (worker) => net.attach(worker, { split: variant === 2 }) };
    const { lines, errors, exit } = await Program.run(t, given, program, host, ...args, ...way);
    if (exit !== 0) throw new Error(`flows ${args.join(" ")}: ${exit} ${[...lines, ...errors].join(" ")}`);
    return Number.parseFloat(lines[0]);
  };
  return { "one long": await figure("long", mib * 1024 * 1024), "short ones": await figure("short", count) };
}
