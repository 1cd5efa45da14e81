import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a program of WASI without its network, shared memory or a Worker says what to do";
export const programs = ["wasi"];
export const deadline = 120;

const MINIMAL = { program: "assembly-minimal", options: { minimalConnect: "host" } };

export default async function (t) {
  const net = await t.open();
  await attachedLate(t, net);
  await inTheMainThread(t);
  if (t.where === "chromium") await withoutSharedMemory(t);
  const foreign = { program: "assembly-minimal" };
  const { lines } = await within(Program.run(t, net, { wasi: foreign }), "a program with another sock_connect");
  t.equal(lines.join(), "connect: 8", "sock_connect() of WasmEdge finds no socket, and says");
  await net.close();
  const after = await within(Program.run(t, net, { wasi: MINIMAL }), "a program without a stack");
  t.equal(after.lines.join(), "connect: 38", "a program whose tunnel is closed says");
}

async function attachedLate(t, net) {
  const waiting = await Program.start(t, undefined, { wasi: MINIMAL });
  const line = await within(waiting.line(/webtun:/), "a word about a program that was not attached");
  t.check(/net\.attach\(worker\)/.test(line), line);
  net.attach(waiting.worker);
  await within(waiting.ended, "the program, attached late");
  waiting.worker.terminate();
  t.equal(waiting.lines.join(), "7 octets, minimal 0", "it says");
}

async function inTheMainThread(t) {
  const { wasiSockets } = await t.load("wasi");
  const words = await wasiSockets().then(() => "nothing", (error) => error.message);
  t.check(/run the program in a Worker/.test(words), `wasiSockets() in the main thread says ${words}`);
}

async function withoutSharedMemory(t) {
  const alone = await Program.start(t, undefined, { wasi: { ...MINIMAL, without: "SharedArrayBuffer" } });
  const words = await within(alone.ended.catch((error) => error.message), "a word about shared memory");
  alone.worker.terminate();
  t.check(/Cross-Origin-Opener-Policy/.test(words), `wasiSockets() says ${words}`);
}
