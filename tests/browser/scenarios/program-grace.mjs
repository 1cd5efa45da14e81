import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program blocks in recv() while its session is lost for good, and hears of it";
export const programs = true;
export const strict = true;

/** Milliseconds without a tunnel, more than the second gateway's grace. */
const AWAY = 6000;

export default async function (t) {
  const net = await t.open({ gateway: "strict", token: "strict-first" });
  // An address that the second gateway allows, and a port at which nobody speaks.
  const program = await Program.start(t, net, "echo", "45.33.7.53", "81", "wait", 1);
  await within(program.line(/waiting/), "a connection");
  t.equal(await t.host("hold", AWAY), 1, "tunnels that were cut");
  const { exit } = await within(program.ended, "the end of recv()", 40_000);
  t.check(["ECONNRESET", "ETIMEDOUT"].includes(program.lines.at(-1)), `recv() ended by ${program.lines.at(-1)}`);
  t.equal(exit, 0, "the exit status");
  return program.lines.at(-1);
}
