// Streams, windows and the states of a socket, against a channel whose other end is the test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { endpoint, fakeNetwork, octets, openTcp, settle } from "./support/fake.mjs";

const refused = { code: "ECONNREFUSED", message: "refused" };
const reset = { code: "ECONNRESET", message: "reset" };

test("data reaches a reader, a BYOB reader and the end", async () => {
  const { say, handle, info } = await openTcp();
  say({ event: "data", handle, data: octets(10) });
  const reader = info.readable.getReader();
  assert.deepEqual((await reader.read()).value, octets(10));
  reader.releaseLock();
  const byob = info.readable.getReader({ mode: "byob" });
  const pending = byob.read(new Uint8Array(4));
  say({ event: "data", handle, data: octets(6, 50) });
  assert.deepEqual((await pending).value, octets(4, 50));
  assert.deepEqual((await byob.read(new Uint8Array(4))).value, octets(2, 54));
  const last = byob.read(new Uint8Array(4));
  say({ event: "finished", handle });
  assert.equal((await last).done, true);
});

test("a reader that stops gives no credit, and credit comes back as it reads", async () => {
  const { say, handle, info, commands } = await openTcp();
  const chunk = 64 * 1024;
  for (let i = 0; i < 4; i++) say({ event: "data", handle, data: new Uint8Array(chunk) });
  assert.deepEqual(await commands("credit"), []);
  const reader = info.readable.getReader();
  for (let i = 0; i < 4; i++) await reader.read();
  const given = (await commands("credit")).reduce((sum, { amount }) => sum + amount, 0);
  assert.equal(given, 4 * chunk);
});

test("data that came before the end is read before it, however late", async () => {
  const { say, handle, info } = await openTcp();
  say({ event: "data", handle, data: octets(3) }, { event: "finished", handle }, { event: "closed", handle });
  await settle();
  const reader = info.readable.getReader();
  assert.deepEqual((await reader.read()).value, octets(3));
  assert.equal((await reader.read()).done, true);
});

test("a writer waits for the stack once its window is full", async () => {
  const { say, handle, info, commands } = await openTcp();
  const writer = info.writable.getWriter();
  let written = false;
  const write = writer.write(new Uint8Array(2048 * 1024)).then(() => (written = true));
  const first = (await commands("send")).map(({ data }) => data.byteLength);
  assert.equal(first.reduce((sum, length) => sum + length), 1024 * 1024);
  assert.equal(written, false);
  say({ event: "sent", handle, amount: 1024 * 1024 });
  await write;
  assert.equal((await commands("send")).length, 4);
  const closed = writer.close();
  assert.deepEqual(await commands("shutdown"), []);
  say({ event: "sent", handle, amount: 1024 * 1024 });
  await closed;
  assert.equal((await commands("shutdown")).length, 1);
});

test("a write takes a copy of every kind of buffer and refuses the rest", async () => {
  const { info, commands } = await openTcp();
  const writer = info.writable.getWriter();
  const source = octets(8);
  await writer.write(source);
  await writer.write(new DataView(source.buffer, 2, 3));
  await writer.write(source.buffer);
  const sent = (await commands("send")).map(({ data }) => new Uint8Array(data));
  assert.deepEqual(sent, [octets(8), octets(3, 2), octets(8)]);
  assert.deepEqual(source, octets(8));
  await assert.rejects(writer.write("text"), TypeError);
});

test("half-close works both ways", async () => {
  const { say, handle, info, commands, socket } = await openTcp();
  say({ event: "finished", handle });
  assert.equal((await info.readable.getReader().read()).done, true);
  const writer = info.writable.getWriter();
  await writer.write(octets(1));
  say({ event: "sent", handle, amount: 1 });
  await writer.close();
  assert.deepEqual((await commands()).map(({ op }) => op).filter((op) => op !== "credit"), ["send", "shutdown"]);
  say({ event: "closed", handle });
  assert.equal(await socket.closed, undefined);
});

test("a refused connection rejects opened and closed with a NetworkError that says why", async () => {
  const fake = fakeNetwork();
  const socket = new fake.net.TCPSocket("192.0.2.1", 81);
  const [{ handle }] = await fake.commands("connect");
  fake.say({ event: "closed", handle, failure: refused });
  for (const promise of [socket.opened, socket.closed]) {
    await assert.rejects(promise, (error) => {
      assert.ok(error instanceof DOMException);
      assert.equal(error.name, "NetworkError");
      assert.equal(error.code, "ECONNREFUSED");
      assert.equal(error.cause.code, "ECONNREFUSED");
      assert.match(error.message, /192\.0\.2\.1 port 81/);
      return true;
    });
  }
});

test("a denied destination is a NotAllowedError", async () => {
  const fake = fakeNetwork();
  const socket = new fake.net.TCPSocket("10.0.0.1", 81);
  const [{ handle }] = await fake.commands("connect");
  fake.say({ event: "closed", handle, failure: { code: "EACCES", message: "denied" } });
  await assert.rejects(socket.opened, { name: "NotAllowedError", code: "EACCES" });
});

test("a reset fails the writer at once and the reader after its data", async () => {
  const { say, handle, info, socket } = await openTcp();
  say({ event: "data", handle, data: octets(2) }, { event: "broken", handle, failure: reset });
  const writer = info.writable.getWriter();
  await assert.rejects(writer.write(octets(1)), { name: "NetworkError", code: "ECONNRESET" });
  say({ event: "closed", handle, failure: reset });
  const reader = info.readable.getReader();
  assert.deepEqual((await reader.read()).value, octets(2));
  await assert.rejects(reader.read(), { code: "ECONNRESET" });
  await assert.rejects(socket.closed, { code: "ECONNRESET" });
});

test("close() is refused before opened and while a stream is locked", async () => {
  const fake = fakeNetwork();
  const early = new fake.net.TCPSocket("192.0.2.1", 80);
  await assert.rejects(early.close(), { name: "InvalidStateError" });
  const { socket, info, commands, say, handle } = await openTcp();
  const reader = info.readable.getReader();
  await assert.rejects(socket.close(), { name: "InvalidStateError" });
  reader.releaseLock();
  const closed = socket.close();
  assert.deepEqual((await commands()).map(({ op }) => op), ["discard", "shutdown"]);
  say({ event: "closed", handle });
  assert.equal(await closed, undefined);
  assert.equal(await socket.close(), undefined);
});

test("a UDP socket keeps datagrams apart, down to no octets", async () => {
  const fake = fakeNetwork();
  const socket = new fake.net.UDPSocket({ localAddress: "0.0.0.0", localPort: 5000 });
  const [{ handle, credit }] = await fake.commands("udp");
  fake.say({ event: "opened", handle, opened: { local: endpoint("0.0.0.0", 5000) } });
  const { readable, writable, localPort, remoteAddress } = await socket.opened;
  assert.equal(localPort, 5000);
  assert.equal(remoteAddress, undefined);
  assert.ok(credit > 0);
  const from = endpoint("192.0.2.9", 9);
  fake.say({ event: "data", handle, data: new Uint8Array(0), from }, { event: "data", handle, data: octets(3), from });
  const reader = readable.getReader();
  const first = (await reader.read()).value;
  assert.equal(first.data.byteLength, 0);
  assert.equal(first.remoteAddress, "192.0.2.9");
  assert.deepEqual((await reader.read()).value.data, octets(3));
  const writer = writable.getWriter();
  await writer.write({ data: new Uint8Array(0), remoteAddress: "192.0.2.9", remotePort: 9 });
  assert.deepEqual((await fake.commands("send"))[0].to, from);
  await assert.rejects(writer.write({ data: octets(1) }), TypeError);
});

test("a connected UDP socket refuses addresses and datagrams that are too long", async () => {
  for (const [message, expected] of [
    [{ data: octets(1), remoteAddress: "192.0.2.1", remotePort: 1 }, { name: "TypeError" }],
    [{ data: new Uint8Array(65_508) }, { name: "NetworkError", code: "EMSGSIZE" }],
    [{}, { name: "TypeError" }],
  ]) {
    const fake = fakeNetwork();
    const socket = new fake.net.UDPSocket({ remoteAddress: "192.0.2.1", remotePort: 53 });
    const [{ handle }] = await fake.commands("udp");
    const opened = { local: endpoint("100.64.0.2", 5), remote: endpoint("192.0.2.1", 53) };
    fake.say({ event: "opened", handle, opened });
    await assert.rejects((await socket.opened).writable.getWriter().write(message), expected);
  }
});

test("a server asks for a connection when it is read, and hands out TCPSockets", async () => {
  const fake = fakeNetwork();
  const server = new fake.net.TCPServerSocket("0.0.0.0", { external: { port: 8080 } });
  const [{ handle }] = await fake.commands("listen");
  const opened = { local: endpoint("0.0.0.0", 41000), external: endpoint("203.0.113.7", 8080) };
  fake.say({ event: "opened", handle, opened });
  const info = await server.opened;
  assert.equal(info.externalAddress, "203.0.113.7");
  assert.equal(info.externalPort, 8080);
  assert.deepEqual(await fake.commands("credit"), []);
  const reader = info.readable.getReader();
  const pending = reader.read();
  assert.equal((await fake.commands("credit"))[0].amount, 1);
  const child = { local: endpoint("100.64.0.2", 41000), remote: endpoint("192.0.2.5", 1234) };
  fake.say({ event: "incoming", handle, child: 1, opened: child });
  const socket = (await pending).value;
  assert.ok(socket instanceof fake.net.TCPSocket);
  assert.equal((await socket.opened).remoteAddress, "192.0.2.5");
  assert.equal((await fake.commands("adopt")).length, 1);
  reader.releaseLock();
  const closed = server.close();
  assert.equal((await fake.commands("close"))[0].handle, handle);
  fake.say({ event: "closed", handle });
  assert.equal(await closed, undefined);
});

test("an engine that dies ends every socket and every call", async () => {
  const fake = await openTcp();
  const resolving = fake.net.resolve("example.org");
  fake.fail({ code: "EIO", message: "the Worker failed" });
  await assert.rejects(resolving, { code: "EIO" });
  await assert.rejects(fake.socket.closed, { code: "EIO" });
  assert.equal(fake.net.status.state, "closed");
  await assert.rejects(new fake.net.TCPSocket("192.0.2.1", 1).opened, { code: "EIO" });
  await assert.rejects(fake.net.ping("192.0.2.1"), { code: "EIO" });
});

test("the WinterTC socket ends its writable side with the other side, unless it may be half open", async () => {
  for (const allowHalfOpen of [false, true]) {
    const fake = fakeNetwork();
    const socket = fake.net.connect("192.0.2.1:80", { allowHalfOpen });
    const [{ handle }] = await fake.commands("connect");
    await socket.writable.getWriter().write(octets(4));
    const opened = { local: endpoint("100.64.0.2", 5), remote: endpoint("192.0.2.1", 80) };
    fake.say({ event: "opened", handle, opened }, { event: "finished", handle });
    assert.equal((await socket.opened).remoteAddress, "192.0.2.1:80");
    const shutdowns = await fake.commands("shutdown");
    assert.equal(shutdowns.length, allowHalfOpen ? 0 : 1);
    assert.throws(() => socket.startTls(), { name: "InvalidStateError" });
  }
});
