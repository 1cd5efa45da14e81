// A segment without a gateway: what its router answers by itself, to a plain card, to v86's and to a WebSocket's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openEthernet, relayWebSocket } from "../dist/ethernet-node.js";
import { attach } from "../dist/v86.js";

const NOWHERE = "ws://127.0.0.1:1/";
const MAC = [2, 0, 0, 0, 0, 7];
const ARP = [
  ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], ...MAC, 8, 6,
  ...[0, 1, 8, 0, 6, 4, 0, 1], ...MAC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 168, 127, 1,
];

/** True for the router's ARP answer to our card. */
const isAnswer = (frame) =>
  frame[12] === 8 && frame[13] === 6 && frame[21] === 2 && MAC.every((octet, at) => frame[at] === octet);

/** What an emulator sends is answered when it pauses. */
const pause = () => Promise.resolve();

const open = async (t, options) => {
  const net = await openEthernet(NOWHERE, options);
  t.after(() => net.close());
  return net;
};

test("the router answers, a guest is seen, and a card without a plug hears nothing", async (t) => {
  const net = await open(t);
  const heard = [];
  let send;
  const port = net.plug({ onSend: (listener) => (send = listener), receive: (frame) => heard.push(frame.slice()) });
  send(Uint8Array.from(ARP));
  assert.equal(heard.length, 0, "the emulator is still at it");
  await pause();
  assert.ok(heard.some(isAnswer));
  assert.deepEqual(net.guests().map(({ mac, tunnel }) => [mac, tunnel]), [["02:00:00:00:00:07", undefined]]);
  port.unplug();
  heard.length = 0;
  send(Uint8Array.from(ARP));
  await pause();
  assert.equal(heard.length, 0);
});

test("a burst without a pause is answered meanwhile, and a frame is not looked at after its time", async (t) => {
  const net = await open(t, { mtu: 65_000 });
  const heard = [];
  let send;
  net.plug({ onSend: (listener) => (send = listener), receive: (frame) => heard.push(frame.slice()) });
  const memory = new Uint8Array(64_000);
  for (let count = 0; count < 8; count++) {
    memory.set(ARP);
    send(memory);
    memory.fill(0);
  }
  assert.ok(heard.filter(isAnswer).length >= 4, `${heard.length} frames for half a megabyte`);
  await pause();
  assert.equal(heard.filter(isAnswer).length, 8);
});

test("frames wait for a card without room, and one that answers at once is no trouble", async (t) => {
  const net = await open(t, { mtu: 9000 });
  const heard = [];
  let room = false;
  let send;
  net.plug({
    onSend: (listener) => (send = listener),
    receive(frame) {
      if (heard.push(frame.slice()) < 3) send(Uint8Array.from(ARP));
    },
    hasRoom: () => room,
  });
  send(Uint8Array.from(ARP));
  await pause();
  assert.equal(heard.length, 0);
  room = true;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(heard.filter(isAnswer).length >= 3);
});

test("v86's card is used by its events, as far as its ring has room", async (t) => {
  const net = await open(t);
  const heard = [];
  const listeners = new Map();
  let woken = 0;
  const ring = { curpg: 70, boundary: 73, pstart: 64, pstop: 128, isr: 0, imr: 63, do_interrupt: () => woken++ };
  const flags = Int32Array.of(0x200);
  const port = attach(
    {
      add_listener: (event, listener) => listeners.set(event, listener),
      remove_listener: (event) => listeners.delete(event),
      bus: { send: (event, frame) => heard.push([event, frame.slice()]) },
      v86: { cpu: { devices: { net: ring }, flags } },
    },
    net,
    { card: 1 },
  );
  listeners.get("net1-send")(Uint8Array.from(ARP));
  await pause();
  assert.equal(heard.length, 0, "three pages are too few");
  assert.ok(woken > 0, "a driver that has cleared the interrupt sleeps");
  [ring.boundary, flags[0], woken] = [69, 0, 0];
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual([heard.length, woken], [0, 0], "the processor takes no interrupts");
  flags[0] = 0x200;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(heard.some(([event, frame]) => event === "net1-receive" && isAnswer(frame)));
  port.unplug();
  assert.equal(listeners.size, 0);
});

/** Opens a socket, sends messages, and gives back what comes within a moment, and its close event. */
async function converse(net, framing, messages) {
  const Socket = relayWebSocket(net, { framing });
  const socket = new Socket("ws://nowhere.invalid/", ["binary"]);
  const heard = [];
  let closed;
  socket.onmessage = ({ data }) => heard.push(data);
  socket.onclose = (event) => (closed = event);
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  assert.deepEqual([socket.readyState, socket.protocol], [1, "binary"]);
  for (const message of messages) socket.send(message);
  await new Promise((resolve) => setTimeout(resolve, 20));
  socket.close();
  return { heard, closed };
}

test("a WebSocket without a server carries frames, and TinyEMU's keep-alive", async (t) => {
  const { heard } = await converse(await open(t), "frame", [Uint8Array.from(ARP), "ping:x"]);
  assert.ok(heard.some((data) => data instanceof ArrayBuffer && isAnswer(new Uint8Array(data))));
  assert.ok(heard.includes("pong:x"));
});

test("a WebSocket without a server carries QEMU's stream, however it is cut", async (t) => {
  const net = await open(t, { profile: "container2wasm" });
  const stream = Uint8Array.from([0, 0, 0, ARP.length, ...ARP]);
  const cut = [stream.subarray(0, 3), stream.subarray(3, 20), stream.subarray(20).slice().buffer];
  const { heard } = await converse(net, "length", cut);
  const frames = heard.map((data) => new Uint8Array(data, 4));
  assert.ok(frames.some(isAnswer));
  assert.ok(heard.every((data) => new DataView(data).getUint32(0) === data.byteLength - 4));
  const { closed } = await converse(net, "length", [Uint8Array.from(ARP)]);
  assert.equal(closed.code, 1002);
});

test("what cannot be is refused", async (t) => {
  await assert.rejects(openEthernet(NOWHERE, { mtu: 70000 }), TypeError);
  await assert.rejects(openEthernet("ftp://x/"), TypeError);
  const net = await open(t);
  await assert.rejects(net.mapPort(80), { code: "ENOTCONN" });
  net.close();
  assert.throws(() => net.plug({ onSend() {}, receive() {} }), { code: "ENETDOWN" });
});

test("pages on a segment reach each other, though no gateway answers", async (t) => {
  const net = await open(t, { mtu: 9000 });
  const [server, client] = await Promise.all([net.join(), net.join()]);
  const [address] = server.status.addresses;
  assert.match(address, /^192\.168\.127\./);
  assert.deepEqual(net.guests(), [], "a page is no guest");
  const { readable } = await new server.TCPServerSocket("0.0.0.0", { localPort: 80 }).opened;
  const [socket, accepted] = await Promise.all([
    new client.TCPSocket(address, 80).opened,
    readable.getReader().read().then(({ value }) => value.opened),
  ]);
  const sent = crypto.getRandomValues(new Uint8Array(60_000));
  const writer = accepted.writable.getWriter();
  const written = Promise.all(Array.from({ length: 20 }, () => writer.write(sent))).then(() => writer.close());
  const got = new Uint8Array(await new Response(socket.readable).arrayBuffer());
  await written;
  assert.equal(got.length, 20 * sent.length);
  assert.ok(Buffer.from(got.subarray(-sent.length)).equals(sent));
  assert.equal((await client.ping(address)).address, address);
  assert.equal(net.dropped, 0);
});

test("a page that leaves gives its address back, and hears of the segment's end", async (t) => {
  const net = await open(t);
  const first = await net.join();
  const [address] = first.status.addresses;
  await first.close();
  const second = await net.join();
  assert.equal(second.status.addresses[0], address);
  const ended = new Promise((resolve) => second.status.addEventListener("closed", resolve));
  net.close();
  await ended;
  await assert.rejects(net.join(), { code: "ENETDOWN" });
});
