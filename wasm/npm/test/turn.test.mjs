// One turn of the engine, over a stack that says what a test wants it to say.
import assert from "node:assert/strict";
import { test } from "node:test";
import { internals } from "./support/internals.mjs";

const { Engine, Kind } = await internals("engine/engine", "engine/events");

/** An event of the stack's socket `id`, with no words beside. */
const eventOf = (kind, id) => Uint32Array.of(kind, 1, id);

/**
 * An engine whose WebSocket is open. `transmits` is what each call of `pollTransmit` gives, as a function of the events
 * that wait; the rest give nothing.
 */
async function open(transmits) {
  const calls = [];
  const waiting = [Uint32Array.of(Kind.OpenTransport, 0)];
  const stack = {
    pollEvents: () => waiting.shift() ?? new Uint32Array(0),
    pollTransmit() {
      calls.push("transmit");
      return transmits.shift()?.(waiting);
    },
    pollTimeout: () => Infinity,
    connected() {},
  };
  const socket = { readyState: 1, bufferedAmount: 0, protocol: "webtun.v1", send: () => calls.push("sent"), close() {} };
  const engine = new Engine({ url: "ws://gateway/", token: undefined, stack, openWebSocket: () => socket });
  engine.own(7, { handleEvent: (kind) => calls.push(Kind[kind]) });
  engine.start();
  // After its first turn the engine rests for a task.
  await new Promise((resolve) => setTimeout(resolve));
  calls.length = 0;
  socket.onopen();
  engine.stop();
  return calls;
}

test("what happens inside the stack while it is asked for messages is told in the same turn", async () => {
  const connectsToItself = (waiting) => void waiting.push(eventOf(Kind.TcpConnected, 7), eventOf(Kind.TcpReadable, 7));
  const calls = await open([connectsToItself]);
  assert.deepEqual(calls, ["transmit", "TcpConnected", "transmit", "TcpReadable", "transmit"]);
});

test("a turn ends when there is no event left and no message", async () => {
  const message = () => new Uint8Array(1);
  assert.deepEqual(await open([message, message]), ["transmit", "sent", "transmit", "sent", "transmit"]);
});

const entering = (engine, action) => engine.enter(action);
/** As the page's commands come; what one does is here what it says before. */
const commanding = (engine, action) => (action(), engine.handleCommands([]));

/** An engine whose WebSocket is open and whose stack has a message in each turn behind an input that `wants` one. */
async function count(inputs, wants, give = entering) {
  const counts = { turns: 0, sent: 0 };
  const waiting = [Uint32Array.of(Kind.OpenTransport, 0)];
  let wanted = false;
  const stack = {
    pollEvents: () => waiting.shift() ?? new Uint32Array(0),
    pollTransmit: () => (wanted ? ((wanted = false), new Uint8Array(1)) : undefined),
    pollTimeout() {
      counts.turns++;
      return Infinity;
    },
    connected() {},
  };
  const socket = { readyState: 1, bufferedAmount: 0, protocol: "webtun.v1", send: () => counts.sent++, close() {} };
  const engine = new Engine({ url: "ws://gateway/", token: undefined, stack, openWebSocket: () => socket });
  engine.start();
  socket.onopen();
  counts.turns = 0;
  for (let input = 0; input < inputs; input++) give(engine, () => (wanted = wants));
  const atOnce = { ...counts };
  await new Promise((resolve) => setTimeout(resolve));
  engine.stop();
  return { atOnce, afterwards: counts };
}

test("inputs that follow each other send together, and who comes first is served at once", async () => {
  const { atOnce, afterwards } = await count(3, true);
  assert.deepEqual(atOnce, { turns: 1, sent: 1 });
  assert.deepEqual(afterwards, { turns: 2, sent: 2 });
});

test("who sends nothing makes nobody wait", async () => {
  const { atOnce, afterwards } = await count(3, false);
  assert.deepEqual(atOnce, { turns: 3, sent: 0 });
  assert.deepEqual(afterwards, atOnce);
});

test("what is said in the microtasks behind a command goes with it", async () => {
  const { atOnce, afterwards } = await count(1, true, (engine, action) => {
    commanding(engine, action);
    queueMicrotask(() => queueMicrotask(() => commanding(engine, action)));
  });
  assert.deepEqual(atOnce, { turns: 0, sent: 0 });
  assert.deepEqual(afterwards, { turns: 1, sent: 1 });
});

test("a command that nothing follows goes in the same task", async () => {
  const before = [];
  const { afterwards } = await count(1, true, (engine, action) => {
    commanding(engine, action);
    setImmediate(() => before.push(engine.stack.pollTransmit()));
  });
  assert.deepEqual(afterwards, { turns: 1, sent: 1 });
  assert.deepEqual(before, [undefined]);
});
