import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "hiredis, unmodified, at a real Redis: large values, 2,000 commands at once, messages, a time limit";
export const programs = ["redis"];

export const host = {
  redis: async () => (await import("../harness/servers.mjs")).startServer("redis"),
};

const LINES = ["large: as it was", "counter: 2000", "message: hello", "nothing: Resource temporarily unavailable"];

export default async function (t) {
  const { port } = await t.host("redis");
  const program = Program.run(t, await t.open(), "redis", "198.18.0.2", port);
  const { lines, errors, exit } = await within(program, "the program's end");
  t.equal(lines.join("\n"), LINES.join("\n"), `the program says, besides ${errors.join(" / ")},`);
  t.equal(exit, 0, "the exit status");
}
