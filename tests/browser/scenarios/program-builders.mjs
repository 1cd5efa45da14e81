import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program that make has built, and one that CMake has, by the lines of the README";
export const programs = ["builders"];

export default async function (t) {
  for (const name of ["small-make", "small-cmake"]) {
    const { lines, exit } = await within(Program.run(t, await t.open(), name), `the end of ${name}`);
    t.equal(exit, 0, `the exit status of ${name}`);
    t.equal(lines.join(), "0 octets behind the end", `${name} says`);
  }
}
