import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";
import { LINES, SIZE } from "./program-rust.mjs";

export const about = "a component of WASI 0.2: the same Rust program that knows std::net alone, for wasm32-wasip2 and by jco";
export const programs = ["wasi"];
export const deadline = 120;

/** WASI's libc has no SO_RCVTIMEO, whatever the host. */
const EXPECTED = LINES.map((line) => (line.startsWith("time-out") ? "time-out: Err(Uncategorized)" : line));

export default async function (t) {
  const wasi = { component: "std-net-component", args: ["www.playground.test", `/blob?size=${SIZE}`] };
  const program = await within(Program.run(t, await t.open(), { wasi }), "the program's end");
  t.equal(program.lines.join("\n"), EXPECTED.join("\n"), `the program says, besides ${program.errors.join(" / ")},`);
  t.equal(program.exit, 0, "the exit status");
}
