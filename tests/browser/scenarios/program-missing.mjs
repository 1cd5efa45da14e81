import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a program without its network, or linked without its C part, says what to do; one in C++ works";
export const programs = true;

export default async function (t) {
  const net = await t.open();
  const waiting = await Program.start(t, undefined, "get", "www.playground.test", "/");
  const line = await within(waiting.line(/webtun:/), "a word about a program that was not attached");
  t.check(/net\.attach\(worker\)/.test(line), line);
  net.attach(waiting.worker);
  const { exit } = await within(waiting.ended, "the program, attached late");
  t.equal(exit, 0, "its exit status");

  const { lines } = await within(Program.run(t, net, "version"), "a program in C++");
  t.equal(lines.join(), "a socket", "a program in C++ says");

  const bare = Program.run(t, net, "bare", "www.playground.test", "/");
  const { errors } = await within(bare, "a program without the C part");
  t.check(errors.some((each) => /npx webtun emcc-flags/.test(each)), `it says ${errors.join(" / ")}`);
}
