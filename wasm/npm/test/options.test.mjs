// What the constructors accept and refuse, as the Direct Sockets text demands.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeNetwork } from "./support/fake.mjs";

const refused = (net, make) => assert.throws(() => make(net), TypeError, make.toString());

test("TCPSocket refuses what is out of range", async () => {
  const { net, commands } = fakeNetwork();
  refused(net, ({ TCPSocket }) => new TCPSocket("host"));
  refused(net, ({ TCPSocket }) => new TCPSocket("", 80));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 65536));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", -1));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", Number.NaN));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 80, 7));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 80, { keepAliveDelay: 999 }));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 80, { sendBufferSize: 0 }));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 80, { receiveBufferSize: 0 }));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 80, { receiveBufferSize: 2 ** 32 }));
  refused(net, ({ TCPSocket }) => new TCPSocket("host", 80, { dnsQueryType: "ipv5" }));
  assert.deepEqual(await commands(), []);
});

test("TCPSocket hands its options on", async () => {
  const { net, commands } = fakeNetwork();
  new net.TCPSocket("[2001:db8::1]", "443", { noDelay: true, keepAliveDelay: 1000, receiveBufferSize: 4096.7 });
  new net.TCPSocket("db.example", 5432, { dnsQueryType: "ipv4" });
  const [first, second] = await commands("connect");
  assert.equal(first.host, "2001:db8::1");
  assert.equal(first.port, 443);
  assert.deepEqual(first.tuning, { noDelay: true, keepAliveDelay: 1000, receiveBufferSize: 4096 });
  assert.equal(first.family, undefined);
  assert.equal(second.family, "ipv4");
});

test("UDPSocket is either connected or bound", () => {
  const { net } = fakeNetwork();
  refused(net, ({ UDPSocket }) => new UDPSocket());
  refused(net, ({ UDPSocket }) => new UDPSocket({}));
  refused(net, ({ UDPSocket }) => new UDPSocket({ remoteAddress: "a" }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ remotePort: 1 }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ localPort: 1 }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ localAddress: "0.0.0.0", localPort: 0 }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ localAddress: "name" }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ localAddress: "0.0.0.0", dnsQueryType: "ipv4" }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ localAddress: "0.0.0.0", ipv6Only: true }));
  refused(net, ({ UDPSocket }) => new UDPSocket({ localAddress: "::1", ipv6Only: true }));
  const both = { remoteAddress: "a", remotePort: 1, localAddress: "0.0.0.0" };
  refused(net, ({ UDPSocket }) => new UDPSocket(both));
  refused(net, ({ UDPSocket }) => new UDPSocket({ remoteAddress: "a", remotePort: 1, external: true }));
  new net.UDPSocket({ localAddress: "0:0::0", ipv6Only: true });
  new net.UDPSocket({ remoteAddress: "dns.example", remotePort: 53, dnsQueryType: "ipv6" });
});

test("TCPServerSocket checks its address and its options", async () => {
  const { net, commands } = fakeNetwork();
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket());
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket("localhost"));
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket("0.0.0.0", { localPort: 0 }));
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket("0.0.0.0", { backlog: 0 }));
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket("0.0.0.0", { ipv6Only: true }));
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket("::", { external: { port: 70000 } }));
  refused(net, ({ TCPServerSocket }) => new TCPServerSocket("::", { external: { lifetime: 0 } }));
  new net.TCPServerSocket("::", { localPort: 8080, backlog: 5, external: { port: 8080, lifetime: 60 } });
  new net.TCPServerSocket("::", { ipv6Only: true, external: true });
  const [first, second] = await commands("listen");
  assert.deepEqual(first.external, { port: 8080, lifetime: 60, family: "ipv4" });
  assert.equal(first.backlog, 5);
  assert.deepEqual(first.local, { address: "::", port: 8080 });
  assert.equal(second.external.family, "ipv6");
});

test("the WinterTC connect() takes text and objects", async () => {
  const { net, commands } = fakeNetwork();
  const { connect } = net;
  connect("example.org:80");
  connect("[2001:db8::1]:443");
  connect({ hostname: "192.0.2.1", port: 7 });
  assert.throws(() => connect("example.org"), TypeError);
  assert.throws(() => connect("example.org:80", { secureTransport: "on" }), { name: "NotSupportedError" });
  assert.throws(() => connect("example.org:80", { secureTransport: "yes" }), TypeError);
  assert.throws(() => connect("example.org:80", { alpn: ["two words"] }), TypeError);
  assert.throws(() => connect("example.org:80", { alpn: [""] }), TypeError);
  assert.throws(() => connect("example.org:80", { sni: "not a/name" + "\u00e9" }), TypeError);
  const hosts = (await commands("connect")).map(({ host, port }) => `${host} ${port}`);
  assert.deepEqual(hosts, ["example.org 80", "2001:db8::1 443", "192.0.2.1 7"]);
});

test("startTls() is for sockets that were opened for it, and needs TLS", async () => {
  const { net } = fakeNetwork();
  const asked = net.connect("example.org:25", { secureTransport: "starttls" });
  assert.equal(asked.secureTransport, "starttls");
  assert.throws(() => asked.startTls(), { name: "NotSupportedError", message: /webtun\/tls/ });
  assert.throws(() => net.connect("example.org:25").startTls(), { name: "InvalidStateError" });
  asked.readable.getReader();
  assert.throws(() => asked.startTls(), { name: "InvalidStateError" });
});

test("install() puts the classes in place and takes them back", () => {
  const { net } = fakeNetwork();
  const target = { UDPSocket: "before" };
  const uninstall = net.install(target);
  assert.equal(target.TCPSocket, net.TCPSocket);
  assert.equal(target.UDPSocket, net.UDPSocket);
  assert.equal(target.TCPServerSocket.name, "TCPServerSocket");
  uninstall();
  assert.deepEqual(target, { UDPSocket: "before" });
});
