// The package against a real gateway with the playground behind it: cargo xtask demo --run npm test.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { connect, errorCode } from "../dist/node.js";
import { decodeMessage } from "../dist/wire.js";

const { WEBTUN_URL: url, WEBTUN_TOKEN: token } = process.env;
const skip = url === undefined && "WEBTUN_URL is not set";
const text = (octets) => new TextDecoder().decode(octets);
const octetsOf = (string) => new TextEncoder().encode(string);
const PATIENCE = 20_000;
const www = "www.playground.test";
const echo = "echo.playground.test";

/** Rejects where `promise` takes long even for a busy machine, so that a fault is a failed test and not one that hangs. */
function within(promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not within ${PATIENCE} ms`)), PATIENCE).unref();
  });
  return Promise.race([promise, late]);
}

async function open(host, port, options) {
  const socket = new net.TCPSocket(host, port, options);
  const info = await within(socket.opened);
  return { socket, ...info, reader: info.readable.getReader(), writer: info.writable.getWriter() };
}

async function readAll(reader) {
  const chunks = [];
  for (;;) {
    const { value, done } = await within(reader.read());
    if (done) return Buffer.concat(chunks);
    chunks.push(value);
  }
}

async function request(path, options) {
  const { reader, writer } = await open(www, 80, options);
  await writer.write(octetsOf(`GET ${path} HTTP/1.0\r\nHost: ${www}\r\n\r\n`));
  const answer = await readAll(reader);
  return answer.subarray(answer.indexOf("\r\n\r\n") + 4);
}

let net;
before(async () => {
  if (!skip) net = await within(connect(url, { token }));
});
after(() => net?.close());

test("the tunnel tells its addresses", { skip }, () => {
  assert.equal(net.status.state, "connected");
  assert.equal(net.status.addresses.length, 2);
  assert.equal(net.status.lease.mtu, 65_535);
});

/** A letter that UTS 46 maps to an ASCII one. */
const fullwidth = (letter) => String.fromCharCode(letter.charCodeAt(0) + 0xfee0);

test("names resolve, by family, and unknown ones do not", { skip }, async () => {
  const [ipv4] = await net.resolve(echo, { family: "ipv4" });
  const [ipv6] = await net.resolve(echo, { family: "ipv6" });
  assert.match(ipv4, /^[\d.]+$/);
  assert.match(ipv6, /:/);
  const both = await net.resolve(echo);
  assert.ok(both.includes(ipv4) && both.includes(ipv6));
  assert.deepEqual(await net.resolve("192.0.2.1"), ["192.0.2.1"]);
  assert.deepEqual(await net.resolve(echo.replace(/[a-z]/g, fullwidth), { family: "ipv4" }), [ipv4]);
  await assert.rejects(net.resolve("nothing.playground.test"), { name: "NetworkError", code: "ENOTFOUND" });
});

for (const dnsQueryType of ["ipv4", "ipv6"]) {
  test(`TCP echo and half-close over ${dnsQueryType}`, { skip }, async () => {
    const { socket, reader, writer, remoteAddress } = await open(echo, 7, { dnsQueryType, noDelay: true });
    assert.equal(remoteAddress.includes(":"), dnsQueryType === "ipv6");
    await writer.write(octetsOf("first "));
    assert.equal(text((await reader.read()).value), "first ");
    await writer.write(octetsOf("second"));
    await writer.close();
    assert.equal(String(await readAll(reader)), "second");
    assert.equal(await within(socket.closed), undefined);
  });
}

test("a server that closes right after its last octet loses nothing, however slow the reader", { skip }, async () => {
  const size = 3_000_000;
  const { reader, writer } = await open(www, 80);
  await writer.write(octetsOf(`GET /close?size=${size} HTTP/1.0\r\nHost: ${www}\r\n\r\n`));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const answer = await readAll(reader);
  assert.equal(answer.length - answer.indexOf("\r\n\r\n") - 4, size);
});

test("an upload and a download are what they were", { skip }, async () => {
  const size = 5_000_000;
  const { createHash } = await import("node:crypto");
  const blob = await request(`/blob?size=${size}`);
  const digest = createHash("sha256").update(blob).digest("hex");
  assert.equal(String(await request(`/sha256?size=${size}`)).trim(), digest);
  const { reader, writer } = await open(echo, 8);
  await writer.write(blob);
  await writer.close();
  assert.equal(JSON.parse(String(await readAll(reader))).sha256, digest);
});

test("what is written before close() arrives", { skip }, async () => {
  const { socket, reader, writer } = await open(echo, 7);
  await writer.write(new Uint8Array(300_000));
  reader.releaseLock();
  writer.releaseLock();
  assert.equal(await within(socket.close()), undefined);
});

test("every failure is its own error", { skip }, async () => {
  const failing = [
    ["nothing.playground.test", 80, "ENOTFOUND"],
    [echo, 77, "ECONNREFUSED"],
    ["unreachable.playground.test", 80, "EHOSTUNREACH"],
    ["10.255.255.1", 80, "EACCES"],
  ];
  for (const [host, port, code] of failing) {
    const socket = new net.TCPSocket(host, port);
    const error = await within(socket.opened).catch((error) => error);
    assert.equal(errorCode(error), code, `${host} ${port}: ${error}`);
    assert.equal(error.name, code === "EACCES" ? "NotAllowedError" : "NetworkError");
    await assert.rejects(socket.closed, { code });
  }
});

test("a reset is ECONNRESET", { skip }, async () => {
  const { socket, reader, writer } = await open(echo, 5);
  await writer.write(octetsOf("x"));
  await assert.rejects(within(reader.read()), { name: "NetworkError", code: "ECONNRESET" });
  await assert.rejects(within(socket.closed), { code: "ECONNRESET" });
});

test("a peer that does not read stops its writer and nobody else", { skip }, async () => {
  const stuck = await open(echo, 4);
  let written = 0;
  const chunk = new Uint8Array(256 * 1024);
  const fill = (async () => {
    for (; written < 256; written++) await stuck.writer.write(chunk);
  })();
  fill.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.ok(written < 64, `${written} chunks were taken`);
  const other = await open(echo, 7);
  await other.writer.write(octetsOf("still here"));
  assert.equal(text((await within(other.reader.read())).value), "still here");
  await stuck.writer.abort();
});

test("datagrams of every size come back whole", { skip }, async () => {
  for (const [dnsQueryType, most] of [["ipv4", 65_507], ["ipv6", 65_487]]) {
    const socket = new net.UDPSocket({ remoteAddress: echo, remotePort: 7, dnsQueryType });
    const { readable, writable } = await within(socket.opened);
    const reader = readable.getReader();
    const writer = writable.getWriter();
    for (const length of [0, 1, 1472, 1473, 9000, most]) {
      const data = Uint8Array.from({ length }, (_, i) => i % 251);
      await writer.write({ data });
      assert.deepEqual((await within(reader.read())).value.data, data);
    }
  }
});

test("a bound UDP socket speaks with names and sees who answers", { skip }, async () => {
  const socket = new net.UDPSocket({ localAddress: "0.0.0.0" });
  const { readable, writable, localPort } = await within(socket.opened);
  assert.ok(localPort > 0);
  const message = { data: octetsOf("hi"), remoteAddress: echo, remotePort: 7, dnsQueryType: "ipv4" };
  await writable.getWriter().write(message);
  const { value } = await within(readable.getReader().read());
  assert.equal(text(value.data), "hi");
  assert.equal(value.remotePort, 7);
});

test("a closed UDP port is ECONNREFUSED", { skip }, async () => {
  const socket = new net.UDPSocket({ remoteAddress: echo, remotePort: 77 });
  const { readable, writable } = await within(socket.opened);
  await writable.getWriter().write({ data: octetsOf("x") });
  await assert.rejects(within(readable.getReader().read()), { code: "ECONNREFUSED" });
});

test("ping answers", { skip }, async () => {
  for (const family of ["ipv4", "ipv6"]) {
    const { rtt, size } = await net.ping(echo, { family, size: 1000 });
    assert.ok(rtt > 0 && rtt < 5000);
    assert.equal(size, 1000);
  }
  await assert.rejects(net.ping("blackhole.playground.test", { timeout: 500 }), { code: "ETIMEDOUT" });
});

test("a listener is reached from outside", { skip }, async () => {
  const server = new net.TCPServerSocket("0.0.0.0", { external: { lifetime: 600 } });
  const { readable, externalPort } = await within(server.opened);
  const connections = readable.getReader();
  const knock = request(`/knock?port=${externalPort}`, { dnsQueryType: "ipv4" });
  const { value: socket } = await within(connections.read());
  const info = await socket.opened;
  const writer = info.writable.getWriter();
  await writer.write(octetsOf("come in\r\n"));
  await writer.close();
  assert.match(String(await knock), /come in/);
  connections.releaseLock();
  assert.equal(await within(server.close()), undefined);
});

test("the WinterTC socket works before it is open", { skip }, async () => {
  const { connect } = net;
  const socket = connect({ hostname: echo, port: 7 }, { allowHalfOpen: true });
  const writer = socket.writable.getWriter();
  writer.write(octetsOf("early"));
  writer.close();
  assert.equal(String(await readAll(socket.readable.getReader())), "early");
  assert.equal(await within(socket.closed), undefined);
});

test("a trace decodes", { skip }, async () => {
  const seen = new Set();
  const stop = net.trace((direction, message) => {
    for (const { type } of decodeMessage(message)) seen.add(`${direction} ${type}`);
  });
  await net.ping(echo);
  stop();
  for (const expected of ["sent SEQUENCE", "sent DATAGRAM", "received DATAGRAM"]) assert.ok(seen.has(expected), expected);
});

test("what is no gateway is refused at once", async () => {
  const server = createServer((_request, response) => response.writeHead(404).end());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await assert.rejects(connect(`ws://127.0.0.1:${server.address().port}/`), { name: "NetworkError", code: "ECONNREFUSED" });
  } finally {
    server.close();
  }
  await assert.rejects(connect("ftp://127.0.0.1/"), TypeError);
  await assert.rejects(connect("ws://127.0.0.1/", { token: "with space" }), TypeError);
  await assert.rejects(connect("ws://127.0.0.1/", { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("close() ends the tunnel and its sockets", { skip }, async () => {
  const other = await connect(url, { token });
  const socket = new other.TCPSocket(echo, 7);
  await socket.opened;
  await other.close();
  assert.equal(other.status.state, "closed");
  await assert.rejects(socket.closed, { code: "ENETDOWN" });
  await assert.rejects(new other.TCPSocket(echo, 7).opened, { code: "ENETDOWN" });
});
