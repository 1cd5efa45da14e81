import { sleep, within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program blocks in recv() while the WebSocket is cut, and goes on; a session's end ends it";
export const programs = true;
export const deadline = 120;

const SIZE = 48 << 20;
const WWW = "www.playground.test";

export default async function (t) {
  const net = await t.open();
  const { lines: quiet } = await within(Program.run(t, net, "get", WWW, `/blob?size=${SIZE}`), "a download", 60_000);
  const program = await Program.start(t, net, "get", WWW, `/blob?size=${SIZE}`);
  await within(program.line(/begun/), "the first octets");
  let cuts = 0;
  for (let at = 0; at < 3; at++) {
    cuts += await t.host("cut");
    await sleep(150);
  }
  await within(program.ended, "the program's end", 60_000);
  t.check(cuts > 0, "nothing was cut");
  t.equal(program.lines.join(), quiet.join(), "what has come");
  t.check(program.lines.at(-1).startsWith(`${SIZE} octets`), `the program says ${program.lines.at(-1)}`);

  const waiting = await Program.start(t, net, "get", WWW, "/blob?size=1000000000");
  await within(waiting.line(/begun/), "the first octets");
  await net.close();
  const { exit } = await within(waiting.ended, "the end of a program whose tunnel is closed");
  t.equal(exit, 1, "its exit status");
  t.equal(waiting.lines.at(-1), "recv: ECONNRESET", "its last line");
  return `${cuts} cuts`;
}
