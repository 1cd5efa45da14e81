import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "programs that wait by unwinding (without shared memory, too) and by threads, in the page and in a Worker";
export const where = ["chromium"];
export const programs = ["modes"];
export const deadline = 120;

const HOST = "echo.playground.test";
const WWW = "www.playground.test";
const SIZE = 4 << 20;
/** The last three are of sockets that another thread closes. */
const THREADS = ["8 threads", "the one that waited: word", "recv: EBADF", "recv of datagrams: EBADF", "accept: EBADF"];

export default async function (t) {
  const says = async (expected, what, program) => {
    const { lines, errors, exit } = await within(program, what, 60_000);
    t.equal(lines.join(), expected.join(), `${what} says, besides ${errors.join(" / ")},`);
    t.equal(exit, 0, `${what}: its exit status`);
  };
  const net = await t.open();
  const { lines: expected } = await Program.runHere(net, "get-asyncify", WWW, `/blob?size=${SIZE}`);
  t.check(expected.at(-1)?.startsWith(`${SIZE} octets`), `a program that is unwound says ${expected.join()}`);
  await says(["50 in parallel"], "poll() that is unwound", Program.runHere(net, "echo-asyncify", HOST, "echo", "parallel", 50));
  await says(THREADS, "threads of the page", Program.runHere(net, "threads", HOST, "echo", 8));
  await says(THREADS, "threads of a Worker", Program.run(t, net, "threads", HOST, "echo", 8));
  await says(THREADS, "threads beside main", Program.run(t, net, "threads-unproxied", HOST, "echo", 8));
  await net.close();

  // As in a page without the two headers: the stack is where the program is.
  delete globalThis.SharedArrayBuffer;
  const here = await t.open({ worker: false });
  await says(expected, "without shared memory, a program", Program.runHere(here, "get-asyncify", WWW, `/blob?size=${SIZE}`));
  const inTurn = Program.runHere(here, "echo-asyncify", HOST, "echo", "sequential", 100);
  await says(["100 one after the other"], "without shared memory, connections in turn", inTurn);
  const waiting = Program.runHere(here, "echo-asyncify", "198.18.0.2", "4", "wait", 1);
  await here.close();
  const { lines } = await within(waiting, "the end of a program whose tunnel is closed");
  t.equal(lines.at(-1) === "ECONNRESET" || lines.join() === "connect: Network is down", true, `it says ${lines.join()}`);
}
