// Arguments: 0 for emcc's own sockets with websockify and a SOCKS5 server, 1 for ours, 2 for ours with connections that the
// gateway makes, 3 for emcc's own with a relay, which is the least that can stand behind them; MiB of the long connection;
// how many short ones.
import { openTunnel } from "../client/flows.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program's connections, by webtun and by websockify";
export const programs = ["flows"];

const HOST = "198.18.0.2";
/** Where bench_page has websockify, and the relays, at ports that are higher by so much. */
const GATEWAY = "10.81.0.1";
const WEBSOCKIFY = 8078;
const ABOVE = 8000;

/** By their numbers: the program, where it connects to, and the last of its arguments. */
const VARIANTS = [
  { program: "flows-sockfs", host: HOST, last: [GATEWAY, WEBSOCKIFY] },
  { program: "flows", host: HOST, last: [], split: false },
  { program: "flows", host: HOST, last: [], split: true },
  { program: "flows-sockfs", host: GATEWAY, last: [ABOVE] },
];

export default async function (t) {
  const [variant, mib, count] = t.args;
  const { program, host, last, split } = VARIANTS[variant];
  const net = split === undefined ? undefined : await openTunnel(t);
  const given = net && { attach: (worker) => net.attach(worker, { split }) };
  const figure = async (...args) => {
    const { lines, errors, exit } = await Program.run(t, given, program, host, ...args, ...last);
    if (exit !== 0) throw new Error(`flows ${args.join(" ")}: ${exit} ${[...lines, ...errors].join(" ")}`);
    return Number.parseFloat(lines[0]);
  };
  return { "one long": await figure("long", mib * 1024 * 1024), "short ones": await figure("short", count) };
}
