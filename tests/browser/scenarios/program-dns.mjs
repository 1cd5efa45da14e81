import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program looks names up by hand, over UDP, and over TCP where the answer was cut; and by gethostbyname()";
export const programs = true;
export const strict = true;

const RESOLVER = "198.18.0.2";

export default async function (t) {
  const net = await t.open();
  const says = async (name, pattern) => {
    const { lines, exit } = await within(Program.run(t, net, "dns", RESOLVER, name), `the lookup of ${name}`);
    t.check(exit === 0 && pattern.test(lines.join()), `the lookup of ${name} ends by ${exit} and says ${lines.join()}`);
  };
  await says("www.playground.test", /^udp: code 0, 1, 198\.18\.0\.2$/);
  await says("big.playground.test", /^tcp: code 0, 100, \d+\.\d+\.\d+\.\d+$/);
  await says("nobody.playground.test", /^udp: code 3, 0, none$/);

  await lookUp(t, net, { "www.playground.test": "1, 198.18.0.2; 2", "nobody.playground.test": "HOST_NOT_FOUND; EAI_NONAME" });
  // Of a name server that has no answer, as libc has it: another time there may be one.
  const strict = await t.open({ gateway: "strict", token: "strict-first" });
  const names = ["one.failing.test", "one.refused.test"];
  await lookUp(t, strict, Object.fromEntries(names.map((name) => [name, "TRY_AGAIN; EAI_AGAIN"])));
}

/** By gethostbyname(), and by getaddrinfo() in both families. */
async function lookUp(t, net, expected) {
  const { lines } = await within(Program.run(t, net, "lookup", ...Object.keys(expected)), "the lookups by libc's calls");
  t.equal(lines.join(" | "), Object.entries(expected).map((both) => both.join(": ")).join(" | "), "what they say");
}
