// Arguments: 0 for emcc's own sockets with websockify and a SOCKS5 server, 1 for ours, 2 for ours with connections that the
// gateway makes; MiB of the long connection; how many short ones.
import { openTunnel } from "../client/flows.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program's connections, by webtun and by websockify";
export const programs = ["flows"];

const HOST = "198.18.0.2";
/** Where bench_page has websockify, and where the SOCKS5 server is for whoever speaks to that. */
const PROXY = ["10.81.0.1", 8078];

export default async function (t) {
  const [variant, mib, count] = t.args;
  const net = variant === 0 ? undefined : await openTunnel(t);
  const figure = async (...args) => {
    const [program, proxy] = net === undefined ? ["flows-sockfs", PROXY] : ["flows", []];
    const given = net && { attach: (worker) => net.attach(worker, { split: variant === 2 }) };
    const { lines, errors, exit } = await Program.run(t, given, program, HOST, ...args, ...proxy);
    if (exit !== 0) throw new Error(`flows ${args.join(" ")}: ${exit} ${[...lines, ...errors].join(" ")}`);
    return Number.parseFloat(lines[0]);
  };
  return { "one long": await figure("long", mib * 1024 * 1024), "short ones": await figure("short", count) };
}
