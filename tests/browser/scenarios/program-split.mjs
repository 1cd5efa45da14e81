import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a C program's connections that the gateway makes: by TCP_FASTOPEN_CONNECT, and where it demands that";
export const programs = true;
export const host = {
  start: async () => (await import("../harness/own-gateway.mjs")).startGateway('[policy]\nsplit = "required"'),
  stop: async (_, url) => (await import("../harness/own-gateway.mjs")).stopGateway(url),
};

const PLAYGROUND = "198.18.0.2";
const ECHO = [PLAYGROUND, 7];
const NOBODY = [PLAYGROUND, 1];
const DENIED = ["10.9.8.7", 80];

const DONE = ["connect: ok", "write: ok", "read: ok", "the same: yes"];
/** What becomes of the request is told to whichever call comes first then. */
const late = (error) => RegExp(`^option: ok, connect: ok, (write: ok, read|write): ${error}`);

export default async function (t) {
  const said = async (net, what, expected, ...args) => {
    const { lines } = await within(Program.run(t, net, "fastopen", ...args), what);
    const text = lines.join(", ");
    if (expected instanceof RegExp) t.check(expected.test(text), `${what}: ${text}`);
    else t.equal(text, expected.join(", "), what);
  };
  const net = await t.open();
  await said(net, "end to end", DONE, ...ECHO);
  await said(net, "with the first data", ["option: ok", ...DONE], ...ECHO, "fast");
  await said(net, "refused", late("Connection refused"), ...NOBODY, "fast");
  await said(net, "denied", late("Permission denied"), ...DENIED, "fast");

  const url = await t.host("start");
  try {
    const demanding = await t.connect(url);
    await said(demanding, "where it is demanded", DONE, ...ECHO);
    await said(demanding, "refused there", ["connect: Connection refused"], ...NOBODY);
    const { lines, exit } = await within(Program.run(t, demanding, "conformance"), "its own addresses");
    t.equal(`${lines.at(-1)} ${exit}`, "end 0", "the end of the program whose connections end at itself");
    await demanding.close();
  } finally {
    await t.host("stop", url);
  }
  return "6 connections";
}
