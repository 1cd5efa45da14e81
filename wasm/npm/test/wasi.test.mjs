// Sockets for WASI as a program meets them, over a channel whose other end echoes: arguments, states, and the octets of
// structures. What needs a network is in tests/browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { internals } from "./support/internals.mjs";

const { preview1, preview2, Shared, SOCKET_SIZE, MAX_SOCKETS, State, Word, putEndpoint } = await internals(
  "wasi/preview1/index",
  "wasi/preview2/index",
  "posix/ring",
  "posix/layout",
  "posix/endpoints",
);

const LOCAL = { address: "192.0.2.1", port: 4000 };
const SUCCESS = 0;
const EBADF = 8;
const EFAULT = 21;
const EINVAL = 28;
const EMFILE = 33;
const ENOTSUP = 58;
const ESPIPE = 70;

/** Connects at once, and sends back what is written. */
class Echo {
  down = 0;
  port = 4000;
  addresses = ["192.0.2.7", "2001:db8::7"];
  requests = [];
  #sockets = [];
  #ids = 1;

  newId = () => this.#ids++;
  allocate = () => new Shared(new SharedArrayBuffer(SOCKET_SIZE));
  recycle = () => {};
  nudge = () => {};

  call(request) {
    this.post(request);
    return 0;
  }

  post(request) {
    this.requests.push(request);
    if (request.memory === undefined) return;
    const shared = new Shared(request.memory);
    this.#sockets.push(shared);
    putEndpoint(shared.words, Word.Local, LOCAL);
    if (request.op !== "connect") return;
    putEndpoint(shared.words, Word.Remote, request);
    shared.set(Word.State, State.Connected);
  }

  kick() {
    for (const { tx, rx } of this.#sockets) {
      const octets = new Uint8Array(Math.min(tx.readable, rx.writable));
      tx.read(octets);
      rx.write(octets);
    }
  }

  wait(timeout, done) {
    return this.run(this.waiting(timeout, done));
  }

  *waiting(timeout, done) {
    const end = performance.now() + timeout;
    for (;;) {
      const result = done();
      if (result !== undefined || performance.now() >= end) return result;
      yield;
    }
  }

  *calling(request) {
    return this.call(request);
  }

  run(task) {
    for (;;) {
      const { done, value } = task.next();
      if (done) return value;
    }
  }
}

/** A program of preview1 with one page of memory: its imports, and the memory. */
function module(options = {}, wasiImport = {}) {
  const channel = new Echo();
  const program = preview1(channel, { wasiImport, start: () => 7 }, options);
  const memory = new WebAssembly.Memory({ initial: 1 });
  assert.equal(program.start({ exports: { memory } }), 7);
  return { channel, wasi: program.imports.wasi_snapshot_preview1, view: new DataView(memory.buffer) };
}

/** Opens a socket of WasmEdge; its descriptor. */
function open({ wasi, view }, family = 1, type = 2) {
  assert.equal(wasi.sock_open(family, type, 0), SUCCESS);
  return view.getUint32(0, true);
}

/** Writes WasmEdge's address at 16: a pointer to its octets at 32, and their number. */
function address({ view }, octets) {
  view.setUint32(16, 32, true);
  view.setUint32(20, octets.length, true);
  new Uint8Array(view.buffer, 32).set(octets);
  return 16;
}

function storage(family, ...octets) {
  return Uint8Array.from({ length: 128 }, (_, at) => (at === 0 ? family : (octets[at - 2] ?? 0)));
}

test("preview1: pointers that lead out of the memory, and descriptors of nobody, are errors", () => {
  const program = module();
  const { wasi, view } = program;
  assert.equal(wasi.sock_open(1, 2, 0x1_0000), EFAULT);
  const fd = open(program);
  assert.equal(wasi.sock_connect(fd, address(program, [192, 0, 2, 9]), 7), SUCCESS);
  view.setUint32(64, 0xffff_fff0, true);
  view.setUint32(68, 100, true);
  assert.equal(wasi.sock_send(fd, 64, 1, 0, 0), EFAULT);
  assert.equal(wasi.sock_send(fd, 64, 100_000, 0, 0), EINVAL);
  assert.equal(wasi.sock_send(fd, 64, 0, 1, 0), EINVAL);
  assert.equal(wasi.sock_recv(fd, 64, 0, 8, 0, 4), EINVAL);
  assert.equal(wasi.sock_shutdown(fd, 0), EINVAL);
  assert.equal(wasi.sock_send(3, 64, 0, 0, 0), EBADF);
  assert.equal(wasi.fd_read(fd + 1, 64, 0, 0), EBADF);
  assert.equal(wasi.sock_connect(fd, address(program, [192, 0, 2]), 7), EINVAL);
  assert.equal(wasi.sock_open(3, 2, 0), 5);
  assert.equal(wasi.sock_getsockopt(fd, 1, 0, 0, 4), EINVAL);
});

test("preview1: descriptors run out, and come back", () => {
  const program = module();
  const all = Array.from({ length: MAX_SOCKETS }, () => open(program));
  assert.equal(program.wasi.sock_open(1, 2, 0), EMFILE);
  assert.equal(program.wasi.fd_close(all[3]), SUCCESS);
  assert.equal(open(program), all[3]);
});

test("preview1: addresses of WasmEdge's second version have their family with them", () => {
  const program = module();
  const { wasi, view, channel } = program;
  const fd = open(program);
  assert.equal(wasi.sock_connect_v2(fd, address(program, storage(1, 192, 0, 2, 9)), 7), SUCCESS);
  assert.equal(channel.requests.at(-1).address, "192.0.2.9");
  assert.equal(wasi.sock_getpeeraddr_v2(fd, address(program, new Uint8Array(128)), 0, 4), SUCCESS);
  assert.deepEqual([...new Uint8Array(view.buffer, 32, 6)], [1, 0, 192, 0, 2, 9]);
  assert.deepEqual([view.getUint32(0, true), view.getUint32(4, true)], [1, 7]);
  assert.equal(wasi.sock_getpeeraddr(fd, address(program, new Uint8Array(4)), 0, 4), SUCCESS);
  assert.equal(view.getUint32(0, true), 4);
});

test("preview1: the octets of sock_connect(ipv4, port, *fd) in either order", () => {
  for (const [minimalConnect, ipv4] of [["host", 0xc0000209 | 0], ["network", 0x090200c0]]) {
    const { wasi, channel, view } = module({ minimalConnect });
    assert.equal(wasi.sock_connect(ipv4, 7, 0), SUCCESS);
    assert.equal(channel.requests.at(-1).address, "192.0.2.9");
    assert.equal(wasi.fd_close(view.getUint32(0, true)), SUCCESS);
  }
});

test("preview1: files are the shim's, and what only files can do is refused for sockets", () => {
  const calls = [];
  const shim = { fd_write: (...given) => calls.push(given), fd_seek: () => 1, poll_oneoff: (...given) => given.length };
  const program = module({}, shim);
  const { wasi, view } = program;
  wasi.fd_write(1, 2, 3, 4);
  assert.deepEqual(calls, [[1, 2, 3, 4]]);
  const fd = open(program);
  assert.equal(wasi.fd_seek(fd, 0n, 0, 0), ESPIPE);
  assert.equal(wasi.fd_renumber(fd, 5), ENOTSUP);
  assert.equal(wasi.fd_fdstat_get(fd, 64), SUCCESS);
  assert.equal(view.getUint8(64), 6);
  assert.equal(wasi.fd_fdstat_set_flags(fd, 4), SUCCESS);
  assert.equal(wasi.sock_recv(fd, 64, 0, 0, 0, 4), 53);
  // A subscription to a file alone.
  view.setUint8(136, 1);
  view.setUint32(144, 1, true);
  assert.equal(wasi.poll_oneoff(128, 256, 1, 0), 4);
});

const ENDPOINT = { tag: "ipv4", val: { port: 7, address: [192, 0, 2, 9] } };
const MAPPED = { tag: "ipv6", val: { port: 7, flowInfo: 0, address: [0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0209], scopeId: 0 } };

/** The interfaces over a channel, without a shim. */
function component(shim = {}) {
  const channel = new Echo();
  const all = preview2(channel, shim, {});
  const tcp = (family = "ipv4") => all["wasi:sockets/tcp-create-socket"].createTcpSocket(family);
  const udp = (family = "ipv4") => all["wasi:sockets/udp-create-socket"].createUdpSocket(family);
  return { channel, all, tcp, udp };
}

function refuses(code, action) {
  let thrown = "nothing";
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  assert.equal(thrown, code);
}

test("preview2: what the states of a TCP socket do not allow", () => {
  const { tcp } = component();
  const socket = tcp();
  refuses("invalid-state", () => socket.localAddress());
  refuses("invalid-state", () => socket.startListen());
  refuses("invalid-state", () => socket.accept());
  refuses("invalid-state", () => socket.shutdown("send"));
  refuses("not-in-progress", () => socket.finishConnect());
  refuses("not-in-progress", () => socket.finishBind());
  socket.startConnect(undefined, ENDPOINT);
  socket.finishConnect();
  refuses("invalid-state", () => socket.startConnect(undefined, ENDPOINT));
  refuses("invalid-state", () => socket.startBind(undefined, ENDPOINT));
  assert.deepEqual(socket.remoteAddress(), ENDPOINT);
  assert.deepEqual(socket.localAddress().val.address, [192, 0, 2, 1]);
});

test("preview2: arguments that no socket takes", () => {
  const { tcp, udp, all } = component();
  const to = (address, port = 7) => ({ tag: "ipv4", val: { address, port } });
  refuses("invalid-argument", () => tcp().startConnect(undefined, to([0, 0, 0, 0])));
  refuses("invalid-argument", () => tcp().startConnect(undefined, to([192, 0, 2, 9], 0)));
  refuses("invalid-argument", () => tcp("ipv6").startConnect(undefined, ENDPOINT));
  refuses("invalid-argument", () => tcp("ipv6").startConnect(undefined, MAPPED));
  refuses("invalid-argument", () => tcp("ipv6").startBind(undefined, MAPPED));
  refuses("invalid-argument", () => tcp().setListenBacklogSize(0n));
  refuses("invalid-argument", () => tcp().setKeepAliveIdleTime(0n));
  refuses("invalid-argument", () => tcp().setHopLimit(0));
  refuses("invalid-argument", () => udp().setReceiveBufferSize(0n));
  refuses("invalid-state", () => udp().stream(undefined));
  refuses("invalid-argument", () => all["wasi:sockets/ip-name-lookup"].resolveAddresses(undefined, ""));
});

test("preview2: options are given back, within their bounds", () => {
  const socket = component().tcp();
  socket.setKeepAliveIdleTime(1n);
  assert.equal(socket.keepAliveIdleTime(), 1_000_000_000n);
  socket.setKeepAliveCount(3);
  socket.setHopLimit(9);
  socket.setSendBufferSize(1n << 60n);
  assert.deepEqual([socket.keepAliveCount(), socket.hopLimit()], [3, 9]);
  assert.ok(socket.sendBufferSize() < 1n << 20n);
});

test("preview2: sockets run out, and come back when they are dropped", () => {
  const { tcp } = component();
  const all = Array.from({ length: MAX_SOCKETS }, () => tcp());
  refuses("new-socket-limit", () => tcp());
  all[0][Symbol.dispose ?? Symbol.for("dispose")]();
  all[0][Symbol.dispose ?? Symbol.for("dispose")]();
  tcp();
  refuses("new-socket-limit", () => tcp());
});

test("preview2: streams carry octets, and end", () => {
  const { tcp } = component();
  const socket = tcp();
  socket.startConnect(undefined, ENDPOINT);
  const [input, output] = socket.finishConnect();
  assert.equal(input.read(10n).length, 0);
  assert.equal(input.subscribe().ready(), false);
  output.blockingWriteAndFlush(Uint8Array.of(1, 2, 3));
  assert.deepEqual([...input.blockingRead(2n)], [1, 2]);
  assert.equal(output.splice(input, 10n), 1n);
  assert.equal(input.skip(10n), 1n);
  assert.throws(() => output.write(new Uint8Array(Number(output.checkWrite()) + 1)), /check-write/);
  assert.throws(() => output.blockingWriteAndFlush(new Uint8Array(4097)), /4096/);
  assert.throws(() => output.writeZeroes(1n << 40n), /check-write/);
  socket.shutdown("both");
  assert.throws(() => output.checkWrite(), { tag: "closed" });
  assert.throws(() => input.read(1n), { tag: "closed" });
});

test("preview2: a lost tunnel is a failure of its streams, and no hang", () => {
  const { tcp, channel } = component();
  const socket = tcp();
  socket.startConnect(undefined, ENDPOINT);
  const [input, output] = socket.finishConnect();
  channel.down = 38;
  assert.throws(() => input.blockingRead(1n), ({ tag, val }) => tag === "last-operation-failed" && val.code === "connection-reset");
  assert.throws(() => output.checkWrite(), { tag: "last-operation-failed" });
});

test("preview2: poll waits for clocks, sockets and pollables of a shim alike", () => {
  const { all, tcp } = component();
  const { poll, Pollable } = all["wasi:io/poll"];
  const clock = all["wasi:clocks/monotonic-clock"];
  const socket = tcp();
  socket.startConnect(undefined, ENDPOINT);
  const [input, output] = socket.finishConnect();
  const soon = clock.subscribeInstant(clock.now() + 5_000_000n);
  assert.deepEqual([...poll([input.subscribe(), soon])], [1]);
  output.write(Uint8Array.of(1));
  assert.deepEqual([...poll([clock.subscribeDuration(10n ** 12n), input.subscribe()])], [1]);
  let looks = 0;
  const foreign = { ready: () => ++looks > 2, block() {} };
  assert.ok(foreign instanceof Pollable);
  assert.deepEqual([...poll([clock.subscribeDuration(10n ** 12n), foreign])], [1]);
  assert.throws(() => poll([]), /nothing/);
});

test("preview2: datagrams, their peers, and what check-send has permitted", () => {
  const { udp } = component();
  const socket = udp();
  socket.startBind(undefined, { tag: "ipv4", val: { port: 0, address: [0, 0, 0, 0] } });
  socket.finishBind();
  const [incoming, outgoing] = socket.stream(ENDPOINT);
  assert.throws(() => outgoing.send([{ data: new Uint8Array(1) }]), /check-send/);
  assert.ok(outgoing.checkSend() > 0n);
  assert.equal(outgoing.send([{ data: Uint8Array.of(1, 2) }, { data: Uint8Array.of(3), remoteAddress: ENDPOINT }]), 2n);
  const received = incoming.receive(10n);
  assert.deepEqual(received.map(({ data }) => [...data]), [[1, 2], [3]]);
  assert.deepEqual(received[0].remoteAddress, ENDPOINT);
  assert.equal(incoming.receive(10n).length, 0);
  outgoing.checkSend();
  const other = { tag: "ipv4", val: { port: 8, address: [192, 0, 2, 9] } };
  refuses("invalid-argument", () => outgoing.send([{ data: Uint8Array.of(1), remoteAddress: other }]));
  refuses("not-supported", () => socket.stream(undefined));
});

test("preview2: names have addresses of both families, and a shim's other interfaces stay, by version too", () => {
  const { all } = component({ "wasi:cli/exit@0.2.6": 1 });
  const stream = all["wasi:sockets/ip-name-lookup@0.2.6"].resolveAddresses(undefined, "host.example");
  assert.deepEqual(stream.resolveNextAddress(), { tag: "ipv4", val: [192, 0, 2, 7] });
  assert.deepEqual(stream.resolveNextAddress(), { tag: "ipv6", val: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7] });
  assert.equal(stream.resolveNextAddress(), undefined);
  assert.equal(all["wasi:cli/exit@0.2.6"], 1);
});
