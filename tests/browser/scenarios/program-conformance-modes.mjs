import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";
import { compare, host as native } from "./program-conformance.mjs";

export const about = "the conformance program prints the lines of Linux also unwound, and by threads, in the page and in a Worker";
export const where = ["chromium"];
export const programs = ["conformance-modes"];
export const full = true;

export const host = native;

export default async function (t) {
  const net = await t.open();
  const expected = await t.host("native");
  for (const mode of ["asyncify", "threads"]) {
    const program = `conformance-${mode}`;
    const inPage = await within(Program.runHere(net, program), `${program} in the page`, 60_000);
    compare(t, inPage, expected, `${program} in the page`);
    const inWorker = await within(Program.run(t, net, program), `${program} in a Worker`, 60_000);
    compare(t, inWorker, expected, `${program} in a Worker`);
  }
}
