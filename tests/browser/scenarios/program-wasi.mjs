import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "modules of WASI preview1: AssemblyScript and Rust with WasmEdge's sockets, std::net, the minimal sock_connect";
export const programs = ["wasi"];
export const deadline = 120;

const ASSEMBLY = [
  "echoed: hello",
  "finished: 0 0",
  "closed: 0 8",
  "body: 300000",
  "unknown: -84",
  "refused: -14",
];

const RUST = [
  "echoed: hello",
  "peer: 7",
  "end: 0",
  "body: 300000",
  "accepted: true",
  "read to the end: half",
  'std: standard Err(WouldBlock)',
  "datagram: 8 true",
  "outside: outside 7",
  "time: Some(20ms) Err(WouldBlock)",
  "reuse: true datagram: Datagram",
  "nobody: time",
  "somebody: read",
  "room: write",
  "refused: Err(ConnectionRefused)",
  "unknown: Err(Some(84))",
];

export default async function (t) {
  const net = await t.open();
  await expect(t, net, { program: "assembly-fetch" }, ASSEMBLY);
  await expect(t, net, { program: "wasmedge" }, RUST);
  if (t.where === "node") await expect(t, net, { program: "wasmedge", shim: "node" }, RUST);
  const minimal = (order) => ({ program: "assembly-minimal", options: { minimalConnect: order } });
  await expect(t, net, minimal("host"), ["7 octets, minimal 0"]);
}

async function expect(t, net, wasi, lines) {
  const program = await within(Program.run(t, net, { wasi }), wasi.program);
  t.equal(program.lines.join("\n"), lines.join("\n"), `${wasi.program} says, besides ${program.errors.join(" / ")},`);
  t.equal(program.exit, 0, `the exit status of ${wasi.program}`);
}
