import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program prints the same lines on Linux and in a Worker, built by emcc";
export const programs = true;
export const deadline = 120;

export const host = {
  /** The lines of the program on this machine, with a loopback interface of its own. */
  async native() {
    const { execFileSync } = await import("node:child_process");
    const path = await import("node:path");
    const file = path.resolve(import.meta.dirname, "../../../target/emscripten/conformance");
    // Linux lets nobody have sockets for echo requests unless it is told so.
    const shell = `ip link set lo up && echo 0 0 > /proc/sys/net/ipv4/ping_group_range && exec ${file}`;
    const options = { encoding: "utf8", timeout: 30_000 };
    return execFileSync("unshare", ["--net", "sh", "-c", shell], options).trim().split("\n");
  },
};

/** The program's lines are Linux's. */
export function compare(t, { lines, exit }, expected, what) {
  for (const [index, line] of expected.entries()) t.equal(lines[index], line, `line ${index + 1} of ${what}`);
  t.equal(lines.length, expected.length, `lines of ${what}`);
  t.equal(lines.at(-1), "end", `the last line of ${what}`);
  t.equal(exit, 0, `the exit status of ${what}`);
}

export default async function (t) {
  const net = await t.open();
  const expected = await t.host("native");
  compare(t, await within(Program.run(t, net, "conformance"), "the program's end", 60_000), expected, "the program");
  return `${expected.length} lines`;
}
