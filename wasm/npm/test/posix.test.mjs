// The memory that a program and the engine share: rings, datagrams and endpoints in it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { internals } from "./support/internals.mjs";

const { Shared, putDatagram, firstDatagram, copyDatagram, dropDatagram, MAX_DATAGRAM, ProgramHost, Channel } =
  await internals("posix/ring", "posix/datagram", "posix/host", "emscripten/control");
const { CONTROL_SIZE, SOCKET_SIZE, LARGE_SOCKET_SIZE, TX_SIZE, State, Word, putEndpoint, takeEndpoint, addressWords, Errno } =
  await internals("posix/layout", "posix/endpoints", "posix/errno");
const { ProgramTcp, Kind } = await internals("posix/tcp", "engine/events");
const { breakWith, sending, Socket } = await internals("posix/socket", "emscripten/transfer", "emscripten/socket");

const fresh = () => new Shared(new SharedArrayBuffer(SOCKET_SIZE));
const pattern = (length, from) => Uint8Array.from({ length }, (_, index) => (from + index) % 251);

test("a ring keeps the order of octets across its end and across the end of its counters", () => {
  const shared = fresh();
  // One step before the counters wrap at 2^32.
  shared.set(Word.TxHead, -5);
  shared.set(Word.TxTail, -5);
  let sent = 0;
  let received = 0;
  for (let round = 0; round < 40; round++) {
    sent += shared.tx.write(pattern(10_007, sent));
    assert.equal(shared.tx.readable, sent - received);
    const into = new Uint8Array(round % 2 === 0 ? 7_001 : 13_013);
    const count = shared.tx.read(into);
    assert.deepEqual(into.subarray(0, count), pattern(count, received));
    received += count;
  }
});

test("a ring takes what fits, and shows less than all in one piece", () => {
  for (const octets of [SOCKET_SIZE, LARGE_SOCKET_SIZE]) {
    const { rx } = new Shared(new SharedArrayBuffer(octets));
    assert.equal(rx.write(new Uint8Array(rx.size + 1)), rx.size);
    assert.equal(rx.write(new Uint8Array(1)), 0);
    rx.skip(10);
    assert.equal(rx.write(new Uint8Array(20)), 10);
    assert.equal(rx.span().length, rx.size - 10);
  }
});

test("counters that a program has spoilt reach no further than the ring", () => {
  const shared = fresh();
  shared.set(Word.TxHead, 0x7fff_ffff);
  assert.equal(shared.tx.readable, TX_SIZE);
  assert.ok(shared.tx.span().length <= TX_SIZE);
  assert.equal(shared.tx.writable, 0);
  shared.tx.writeAll([]);
  const first = firstDatagram(shared.tx);
  assert.ok(first.length <= TX_SIZE);
  const claimed = fresh();
  putDatagram(claimed.tx, pattern(8, 0), undefined);
  new Int32Array(claimed.memory, claimed.tx.span().byteOffset, 1)[0] = -1;
  assert.equal(firstDatagram(claimed.tx).length, 8);
});

test("datagrams keep their borders and their peers", () => {
  const { tx } = fresh();
  const peer = { address: "2001:db8::7", port: 53 };
  assert.ok(putDatagram(tx, pattern(MAX_DATAGRAM, 1), peer));
  assert.ok(putDatagram(tx, new Uint8Array(0), undefined));
  assert.ok(putDatagram(tx, pattern(3, 9), { address: "192.0.2.1", port: 7 }, 255));
  assert.ok(!putDatagram(tx, new Uint8Array(MAX_DATAGRAM), peer));
  assert.deepEqual(firstDatagram(tx), { length: MAX_DATAGRAM, peer, hopLimit: 0 });
  const part = new Uint8Array(5);
  copyDatagram(tx, part, 10);
  assert.deepEqual(part, pattern(5, 11));
  dropDatagram(tx, MAX_DATAGRAM);
  assert.deepEqual(firstDatagram(tx), { length: 0, peer: undefined, hopLimit: 0 });
  dropDatagram(tx, 0);
  assert.deepEqual(firstDatagram(tx), { length: 3, peer: { address: "192.0.2.1", port: 7 }, hopLimit: 255 });
  dropDatagram(tx, 3);
  assert.equal(firstDatagram(tx), undefined);
});

test("addresses survive as words, whatever their spelling", () => {
  const spellings = {
    "0.0.0.0": "0.0.0.0",
    "255.255.255.255": "255.255.255.255",
    "::": "::",
    "::1": "::1",
    "[2001:DB8::a]": "2001:db8::a",
    "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
    "64:ff9b::192.0.2.33": "64:ff9b::c000:221",
    "fe80::": "fe80::",
  };
  for (const [given, expected] of Object.entries(spellings)) {
    const words = new Int32Array(6);
    putEndpoint(words, 0, { address: given, port: 65_535 });
    assert.deepEqual(takeEndpoint(words, 0), { address: expected, port: 65_535 });
  }
  assert.deepEqual(addressWords("no address"), []);
  assert.equal(takeEndpoint(new Int32Array(6), 0), undefined);
});

/** The engine's side over a stack whose every call is counted; the program's side over the same memory. */
async function program(t, count) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port2.close());
  const control = new SharedArrayBuffer(CONTROL_SIZE);
  const calls = [];
  let next = 0;
  const stack = {
    connectSplit: () => undefined,
    connect: () => next++,
    send: (id, data) => (calls.push(id), data.length),
    receive: (id) => (calls.push(id), "empty"),
    forget: () => {},
  };
  const context = { stack, enter: (action) => action(), own: () => {}, forget: () => {} };
  new ProgramHost(context, { control, port: port1 });
  const channel = new Channel({ control, port: port2 }, () => {});
  const sockets = Array.from({ length: count }, () => ({ id: channel.newId(), shared: channel.allocate() }));
  const tuning = { fastOpen: false, noDelay: false, keepAliveDelay: 0, receiveBufferSize: 0, sendBufferSize: 0 };
  for (const { id, shared } of sockets) {
    shared.set(Word.State, State.Connected);
    channel.post({ op: "connect", id, memory: shared.memory, address: "192.0.2.1", port: 7, tuning });
  }
  const settled = () => new Promise((resolve) => setTimeout(resolve, 20));
  await settled();
  return { channel, sockets, calls, settled };
}

test("the first connections have large memory, and those after them when these have given it back", () => {
  const { port1, port2 } = new MessageChannel();
  const channel = new Channel({ control: new SharedArrayBuffer(CONTROL_SIZE), port: port1 }, () => {});
  const sizes = (count) => Array.from({ length: count }, () => channel.allocate(true)).map(({ memory }) => memory.byteLength);
  const first = channel.allocate(true);
  assert.deepEqual(new Set(sizes(15)), new Set([LARGE_SOCKET_SIZE]));
  assert.deepEqual(new Set(sizes(5)), new Set([SOCKET_SIZE]));
  assert.equal(channel.allocate().memory.byteLength, SOCKET_SIZE);
  first.set(Word.Released, 1);
  channel.recycle(first);
  assert.notEqual(channel.allocate(), first);
  assert.equal(channel.allocate(true), first);
  port1.close();
  port2.close();
});

test("what a kick costs follows the sockets that were touched, and not those that are open", async (t) => {
  const { channel, sockets, calls, settled } = await program(t, 1000);
  assert.equal(calls.length, 0);
  for (let round = 0; round < 3; round++) {
    for (const socket of [sockets[7], sockets[900]]) {
      socket.shared.tx.write(pattern(10, 0));
      channel.kick(socket);
      // A second time before the engine has looked: it stands in the list already.
      channel.kick(socket);
    }
    await settled();
    // One send and one look for what was received, for each of the two.
    assert.deepEqual(calls.splice(0), [7, 7, 900, 900]);
  }
});

test("a list that is full makes the engine look at all, once", async (t) => {
  const { channel, sockets, calls, settled } = await program(t, 1500);
  for (const socket of sockets) {
    socket.shared.tx.write(pattern(1, 0));
    channel.kick(socket);
  }
  await settled();
  assert.equal(calls.length, 2 * sockets.length);
  assert.ok(sockets.every(({ shared }) => shared.tx.readable === 0));
  calls.length = 0;
  sockets[3].shared.tx.write(pattern(1, 0));
  channel.kick(sockets[3]);
  await settled();
  assert.deepEqual(calls, [3, 3]);
});

test("a connection that is reset is told of once, however often the stack does", () => {
  const RESET = 23;
  let owned;
  const stack = { connectSplit: () => undefined, connect: () => 0, receive: () => ({ code: RESET }) };
  const owner = { context: { stack, own: (_, socket) => (owned = socket) }, split: false, changed: () => {} };
  const shared = fresh();
  new ProgramTcp(owner, 0, shared).connect({ address: "192.0.2.1", port: 7 }, { fastOpen: false });
  shared.set(Word.State, State.Connected);
  owned.handleEvent(Kind.TcpReadable, new Uint32Array(2));
  assert.deepEqual([Word.Error, Word.RxEnd, Word.TxEnd].map((word) => shared.get(word)), [Errno.ECONNRESET, 1, 1]);
  // The program takes the error before the stack tells it again.
  shared.set(Word.Error, 0);
  owned.handleEvent(Kind.TcpClosed, Uint32Array.of(0, RESET));
  assert.equal(shared.get(Word.Error), 0);
});

/** A connected socket of a program's, whose memory calls `between` when either side has looked at it or changed it. */
function watched(between) {
  class Watched extends Shared {
    get(word) {
      const value = super.get(word);
      between();
      return value;
    }
    set(word, value) {
      super.set(word, value);
      between();
    }
  }
  const socket = new Socket(2, 1, 0);
  Object.assign(socket, { role: "stream", nonBlocking: true, shared: new Watched(new SharedArrayBuffer(SOCKET_SIZE)) });
  Shared.prototype.set.call(socket.shared, Word.State, State.Connected);
  return socket;
}

/** What send() says of one octet, by a channel that never waits. */
function sendOne(socket) {
  const channel = { down: 0, kick() {}, *waiting(_, step) { return step(); } };
  return sending(channel, socket, [new Uint8Array(1)], 0, undefined).next().value;
}

test("send() tells why a connection is over before it tells that it is, whenever the engine comes to know", () => {
  const inTurn = (said) => {
    const told = said.findIndex((each) => each < 0);
    assert.deepEqual(said.slice(told), [-Errno.ECONNREFUSED, ...said.slice(told + 1).map(() => -Errno.EPIPE)]);
  };
  for (let place = 0; place < 12; place++) {
    // The program sends at one place of the engine's work, and the engine works at one place of the program's.
    for (const programFirst of [false, true]) {
      const said = [];
      let left = place;
      let isWithin = false;
      const send = () => said.push(sendOne(socket));
      const end = () => breakWith(socket.shared, { code: "ECONNREFUSED" });
      const [outer, inner] = programFirst ? [send, end] : [end, send];
      const socket = watched(() => {
        if (isWithin || left-- !== 0) return;
        isWithin = true;
        inner();
      });
      outer();
      isWithin = true;
      if (programFirst && socket.word(Word.TxEnd) === 0) end();
      for (let more = 0; more < 3; more++) send();
      inTurn(said);
    }
  }
});
