import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";
import { compare, host as native } from "./program-conformance.mjs";

export const about = "programs of Debian's newest emcc: suspended by JSPI, with and without shared memory, and in a Worker that sleeps";
export const where = ["chromium"];
export const programs = ["suspended"];
export const full = true;
export const deadline = 120;

export const host = native;

const HOST = "echo.playground.test";
const WWW = "www.playground.test";
const SIZE = 4 << 20;

export default async function (t) {
  const says = async (expected, what, program) => {
    const { lines, errors, exit } = await within(program, what);
    t.equal(lines.join(), expected.join(), `${what} says, besides ${errors.join(" / ")},`);
    t.equal(exit, 0, `${what}: its exit status`);
  };
  const net = await t.open();
  const { lines: expected } = await within(Program.run(t, net, "get-latest", WWW, `/blob?size=${SIZE}`), "a Worker that sleeps");
  t.check(expected.at(-1)?.startsWith(`${SIZE} octets`), `a Worker that sleeps says ${expected.join()}`);
  await says(expected, "a download", Program.runHere(net, "get-jspi", WWW, `/blob?size=${SIZE}`));
  await says(["50 in parallel"], "poll()", Program.runHere(net, "echo-jspi", HOST, "echo", "parallel", 50));
  const linux = await t.host("native");
  const conforms = async (what, program) => compare(t, await within(program, what, 60_000), linux, what);
  await conforms("conformance in a Worker that sleeps", Program.run(t, net, "conformance-latest"));
  await conforms("conformance by JSPI in the page", Program.runHere(net, "conformance-jspi"));
  await conforms("conformance by JSPI in a Worker", Program.run(t, net, "conformance-jspi"));
  delete globalThis.SharedArrayBuffer;
  const here = await t.open({ worker: false });
  await says(expected, "without shared memory, a download", Program.runHere(here, "get-jspi", WWW, `/blob?size=${SIZE}`));
  const inTurn = Program.runHere(here, "echo-jspi", HOST, "echo", "sequential", 100);
  await says(["100 one after the other"], "without shared memory, connections in turn", inTurn);
}
