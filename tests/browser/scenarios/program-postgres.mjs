import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "libpq, unmodified, at a real PostgreSQL: SCRAM, COPY, large values, a pipeline, NOTIFY, a cancelled query";
export const programs = ["postgres"];
export const deadline = 120;

export const host = {
  postgres: async () => (await import("../harness/servers.mjs")).startServer("postgres"),
};

const LINES = [
  "a wrong password: 1", "by a password: 1", "copied: 20000 rows, sum 199990000", "one by one: 20000 rows, sum 199990000",
  "large: as it was", "at once: 500 answers", "notified: hello", "cancelled: 57014",
];

export default async function (t) {
  const { port, password } = await t.host("postgres");
  const program = Program.run(t, await t.open(), "postgres", "198.18.0.2", port, password);
  const { lines, errors, exit } = await within(program, "the program's end", 60_000);
  t.equal(lines.join("\n"), LINES.join("\n"), `the program says, besides ${errors.join(" / ")},`);
  t.equal(exit, 0, "the exit status");
}
