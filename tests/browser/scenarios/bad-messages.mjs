import { within } from "../client/context.mjs";
import { Echo, Heartbeat } from "../client/echo.mjs";
import { capsule, HELLO, hello, RawTunnel, sequenced } from "../client/raw.mjs";

export const about = "bad messages end their own session with a documented close code, or are dropped; others go on";
export const egress = true;
// Node 20 has no WebSocket of its own.
export const where = ["chromium"];

const [SESSION, CLOSE, ACK, PING, PONG] = [0x11, 0x12, 0x15, 0x16, 0x17];
const PROTOCOL = 6;
const VERSION = 1;
const MIB = 1 << 20;

/** What ends a session: messages, then the code in CLOSE (absent where there may be none) and that of the WebSocket. */
const FATAL = [
  ["text", ["hello"], PROTOCOL, 1003],
  ["text within a session", [HELLO, "hello"], PROTOCOL, 1003],
  ["an oversized message", [HELLO, new Array(MIB + 1).fill(0)], undefined, 1009],
  ["no HELLO at first", [capsule(PING, 0, 0, 0, 0, 0, 0, 0, 0)], PROTOCOL, 1002],
  ["HELLO cut short", [HELLO.slice(0, -1)], PROTOCOL, 1002],
  ["HELLO with an octet too many", [hello(1, 1, 0)], PROTOCOL, 1002],
  ["HELLO of an unknown version", [hello(9, 9)], VERSION, 1002],
  ["a second HELLO", [HELLO, HELLO], PROTOCOL, 1002],
  ["a capsule longer than its message", [HELLO, [0xab, 0x7e, 0x15, PING, 8, 1, 2]], PROTOCOL, 1002],
  ["a type cut short", [HELLO, [0xab, 0x7e]], PROTOCOL, 1002],
  ["a capsule from the wrong side", [HELLO, capsule(SESSION, 1)], PROTOCOL, 1002],
  ["a gap in the sequence", [HELLO, sequenced(5, 0, [0x45])], PROTOCOL, 1002],
  ["an ACK beyond what was sent", [HELLO, capsule(ACK, 9)], PROTOCOL, 1002],
];

/** What is dropped, and the session goes on. */
const HARMLESS = [
  ["an empty message", []],
  ["an unknown capsule", [0xab, 0x7e, 0x15, 0x7f, 2, 1, 2]],
  ["an unknown context", sequenced(0, 6, [1, 2, 3])],
  ["an empty packet", sequenced(1, 0, [])],
  ["a packet of a single octet", sequenced(2, 0, [0x45])],
  ["an unknown IP version", sequenced(3, 0, new Array(40).fill(0x95))],
  ["a wrong total length", sequenced(4, 0, ipv4([100, 64, 0, 2], 0xffff))],
  ["a spoofed source", sequenced(5, 0, ipv4([8, 8, 8, 8], 20))],
  ["a header longer than the packet", sequenced(6, 0, [0x4f, ...ipv4([100, 64, 0, 2], 20).slice(1)])],
];

/** An IPv4 header of protocol 253 (RFC 3692) towards the playground; its checksum is of no matter here. */
function ipv4(source, length) {
  return [0x45, 0, length >> 8, length & 255, 0, 1, 0, 0, 64, 253, 0, 0, ...source, 198, 18, 0, 2];
}

export default async function (t) {
  const net = await t.open();
  let reconnects = 0;
  net.status.addEventListener("reconnecting", () => reconnects++);
  const heartbeat = new Heartbeat(await Echo.open(net));
  for (const [what, messages, closeCode, code] of FATAL) await fatal(t, what, messages, closeCode, code);
  await harmless(t);
  await t.fails(withoutSubprotocol(t), "REFUSED", "an upgrade without the subprotocol");
  const figures = await heartbeat.stop();
  t.equal(reconnects, 0, "reconnects of another session");
  return `${FATAL.length} fatal, ${HARMLESS.length} harmless, ${figures}`;
}

async function fatal(t, what, messages, closeCode, code) {
  const raw = await RawTunnel.open(t.url());
  for (const [index, message] of messages.entries()) {
    raw.send(message);
    if (index === 0 && messages.length > 1) await raw.receive(SESSION);
  }
  if (closeCode !== undefined) {
    const close = await raw.receive(CLOSE).catch((error) => t.check(false, `${what}: ${error.message}`));
    t.equal(close[0], closeCode, `${what}: the code in CLOSE`);
  }
  t.equal((await within(raw.closed, what)).code, code, `${what}: the code of the WebSocket`);
}

async function harmless(t) {
  const raw = await RawTunnel.open(t.url());
  raw.send(HELLO);
  await raw.receive(SESSION);
  for (const [index, [what, message]] of HARMLESS.entries()) {
    raw.send(message);
    raw.send(capsule(PING, 0, 0, 0, 0, 0, 0, 0, index));
    const pong = await raw.receive(PONG).catch((error) => t.check(false, `${what}: ${error.message}`));
    t.equal(pong[7], index, `${what}: the PONG after it`);
  }
  raw.send(capsule(CLOSE, 0, 0, 0, 0, 0, 0));
  t.equal((await within(raw.closed, "CLOSE")).code, 1000, "the code after CLOSE");
}

async function withoutSubprotocol(t) {
  const raw = await RawTunnel.open(t.url(), []).catch((error) => {
    throw Object.assign(error, { code: "REFUSED" });
  });
  raw.close();
}
