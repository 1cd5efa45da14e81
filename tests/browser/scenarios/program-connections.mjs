import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program has 200 connections at once, and 2,500 in turn that leave nothing behind";
export const programs = true;
export const deadline = 180;

const HOST = "echo.playground.test";

/** More than the engine keeps for a program at a time (2,048): it would refuse one if it forgot none. */
const IN_TURN = 2500;

/** Shared buffers for connections that are never open together: one each would be a leak. */
const FEW = 50;

export default async function (t) {
  const net = await t.open();
  const parallel = await within(Program.run(t, net, "echo", HOST, "echo", "parallel", 200), "200 at once", 60_000);
  t.equal(parallel.lines.join(), "200 in parallel", "the program says");
  const inTurn = await within(Program.run(t, net, "echo", HOST, "echo", "sequential", IN_TURN), "those in turn", 120_000);
  t.equal(inTurn.lines.join(), `${IN_TURN} one after the other`, "the program says");
  t.check(inTurn.buffers < FEW, `${inTurn.buffers} shared buffers for connections in turn`);
  return `${inTurn.buffers} shared buffers for ${IN_TURN} connections`;
}
