import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "iperf3, unmodified, at a real iperf3: TCP both ways, by two connections, and UDP both ways";
export const programs = ["iperf3"];

const SERVER = "iperf.playground.test";
const UDP = ["-u", "-b", "4M"];
const WAYS = { up: [], down: ["-R"], "two down": ["-R", "-P", "2"], "UDP up": UDP, "UDP down": [...UDP, "-R"] };

export default async function (t) {
  const net = await t.open();
  for (const [what, flags] of Object.entries(WAYS)) {
    const run = Program.run(t, net, "iperf3", "-J", "-t", "1", "-c", SERVER, ...flags);
    const { lines, errors, exit } = await within(run, what);
    t.equal(exit, 0, `the exit status of ${what}; ${errors.join(" ")}`);
    const { error, end } = JSON.parse(lines.join("\n"));
    t.equal(error, undefined, `the error of ${what}`);
    const { bytes, packets, lost_packets: lost = 0 } = end.sum_received ?? end.sum;
    t.check(bytes > 0, `${what} has moved ${bytes} octets`);
    if (packets !== undefined) t.check(packets > 300 && lost < packets / 10, `${what}: ${lost} of ${packets} are lost`);
  }
  return Object.keys(WAYS).join(", ");
}
