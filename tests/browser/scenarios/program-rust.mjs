import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a Rust program that knows std::net alone: TcpStream, TcpListener, UdpSocket, names, kinds of errors";
export const programs = ["rust"];

export const SIZE = 300_000;
export const LINES = [
  "addresses: true",
  `body: ${SIZE}`,
  "accepted: true",
  "read to the end: half",
  "datagram: 8 true",
  "nothing: Err(WouldBlock)",
  "time-out: Err(WouldBlock)",
  "refused: Err(ConnectionRefused)",
  "unknown: true",
];

export default async function (t) {
  const program = Program.run(t, await t.open(), "std-net", "www.playground.test", `/blob?size=${SIZE}`);
  const { lines, errors, exit } = await within(program, "the program's end");
  t.equal(lines.join("\n"), LINES.join("\n"), `the program says, besides ${errors.join(" / ")},`);
  t.equal(exit, 0, "the exit status");
}
