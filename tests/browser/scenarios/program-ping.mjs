import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program's sockets for echo requests, and the TTL of each kind of socket, to the outside";
export const programs = true;

const ANSWERS = ["echo: 2000 octets", "UDP: 8 octets", "TCP: 6 octets"];
/** The gateway, the first router on the way, lets nothing through that may go no further. */
const EXPIRED = ["echo: EHOSTUNREACH", "UDP: EHOSTUNREACH", "TCP: EHOSTUNREACH"];

export default async function (t) {
  const net = await t.open();
  for (const [ttl, each] of [[64, ANSWERS], [1, EXPIRED]]) {
    const program = Program.run(t, net, "ping", "www.playground.test", ttl);
    const { lines, errors } = await within(program, `the program's end with a TTL of ${ttl}`);
    const families = lines.filter((line) => /^IPv/.test(line));
    t.equal([...families].sort().join(), "IPv4,IPv6", `the families, besides ${errors.join(" / ")},`);
    t.equal(lines.join("\n"), families.flatMap((family) => [family, ...each]).join("\n"), `with a TTL of ${ttl}`);
  }
}
