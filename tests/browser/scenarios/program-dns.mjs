import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program looks names up by hand, over UDP, and over TCP where the answer was cut; and by gethostbyname()";
export const programs = true;

const RESOLVER = "198.18.0.2";

/** By gethostbyname(), and by getaddrinfo() in both families. */
const KNOWN = ["1, 198.18.0.2; 2", "HOST_NOT_FOUND; EAI_NONAME"];

export default async function (t) {
  const net = await t.open();
  const says = async (name, pattern) => {
    const { lines, exit } = await within(Program.run(t, net, "dns", RESOLVER, name), `the lookup of ${name}`);
    t.check(exit === 0 && pattern.test(lines.join()), `the lookup of ${name} ends by ${exit} and says ${lines.join()}`);
  };
  await says("www.playground.test", /^udp: code 0, 1, 198\.18\.0\.2$/);
  await says("big.playground.test", /^tcp: code 0, 100, \d+\.\d+\.\d+\.\d+$/);
  await says("nobody.playground.test", /^udp: code 3, 0, none$/);

  const names = ["www.playground.test", "nobody.playground.test"];
  const { lines } = await within(Program.run(t, net, "lookup", ...names), "the lookups by libc's calls");
  t.equal(lines.join(" | "), KNOWN.map((line, at) => `${names[at]}: ${line}`).join(" | "), "what they say");
}
