import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program that opens no file, built without emcc's file system by default, closes its sockets";
export const programs = true;

export default async function (t) {
  const { lines, exit } = await within(Program.run(t, await t.open(), "small"), "the program's end");
  t.equal(exit, 0, "the exit status");
  t.equal(lines.join(), "0 octets behind the end", "the program says");
}
