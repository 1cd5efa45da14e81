import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program's connections that the gateway makes: by choice, by TCP_FASTOPEN_CONNECT, and where it demands that";
export const programs = true;
export const host = {
  start: async () => (await import("../harness/own-gateway.mjs")).startGateway('[policy]\nsplit = "required"'),
  stop: async (_, url) => (await import("../harness/own-gateway.mjs")).stopGateway(url),
};

const PLAYGROUND = "198.18.0.2";
const ECHO = [PLAYGROUND, 7];
const NOBODY = [PLAYGROUND, 1];
const DENIED = ["10.9.8.7", 80];

const DONE = "connect: ok, write: ok, read: ok, the same: yes, from";
/** What becomes of the request is told to whichever call comes first then. */
const late = (error) => RegExp(`^option: ok, connect: ok, (write: ok, read|write): ${error}`);

/** What is attached to it has its connections made by the gateway, where that can be. */
const splitting = (net) => ({ attach: (worker) => net.attach(worker, { split: true }) });

export default async function (t) {
  const said = async (net, what, expected, ...args) => {
    const { lines } = await within(Program.run(t, net, "fastopen", ...args), what);
    const text = lines.join(", ");
    t.check(expected.test(text), `${what}: ${text} instead of ${expected}`);
  };
  const net = await t.open();
  const own = net.status.addresses.find((address) => address.includes("."));
  const [whole, split] = [RegExp(`^${DONE} ${own}$`), RegExp(`^${DONE} (?!${own}$)`)];
  await said(net, "end to end", whole, ...ECHO);
  await said(net, "with the first data", RegExp(`^option: ok, ${DONE} (?!${own}$)`), ...ECHO, "fast");
  await said(net, "refused", late("Connection refused"), ...NOBODY, "fast");
  await said(net, "denied", late("Permission denied"), ...DENIED, "fast");
  await said(splitting(net), "by choice", split, ...ECHO);
  await said(splitting(net), "refused then", /^connect: Connection refused$/, ...NOBODY);
  await said(splitting(net), "denied then", /^connect: Permission denied$/, ...DENIED);

  const url = await t.host("start");
  try {
    const demanding = await t.connect(url);
    await said(demanding, "where it is demanded", RegExp(`^${DONE} `), ...ECHO);
    await said(demanding, "refused there", /^connect: Connection refused$/, ...NOBODY);
    const { lines, exit } = await within(Program.run(t, demanding, "conformance"), "its own addresses");
    t.equal(`${lines.at(-1)} ${exit}`, "end 0", "the end of the program whose connections end at itself");
    await demanding.close();
  } finally {
    await t.host("stop", url);
  }
  return "9 connections";
}
