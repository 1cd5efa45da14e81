// Memory that is used again is never what somebody else still looks at.
import assert from "node:assert/strict";
import { test } from "node:test";
import { internals } from "./support/internals.mjs";

const { SpareMemory } = await internals("spare-memory");

const filled = (length, value) => new Uint8Array(length).fill(value);

test("a copy lies in the memory that was kept, once", () => {
  const spare = new SpareMemory();
  const kept = filled(100, 1);
  spare.keep(kept);
  const first = spare.copy(filled(80, 2));
  assert.equal(first.buffer, kept.buffer);
  assert.deepEqual(first, filled(80, 2));
  const second = spare.copy(filled(80, 3));
  assert.notEqual(second.buffer, kept.buffer);
  assert.deepEqual([first, second], [filled(80, 2), filled(80, 3)]);
});

test("what is too small, or much too large, is not used", () => {
  const spare = new SpareMemory();
  spare.keep(filled(1000, 1));
  for (const length of [1001, 249, 0]) assert.equal(spare.copy(filled(length, 4)).byteLength, length);
  assert.equal(spare.copy(filled(250, 4)).buffer.byteLength, 1000);
});

test("a part of a buffer is kept as that part", () => {
  const spare = new SpareMemory();
  const whole = filled(100, 7);
  spare.keep(whole.subarray(10, 90));
  assert.deepEqual(spare.copy(filled(80, 8)), filled(80, 8));
  assert.deepEqual([whole[9], whole[10], whole[89], whole[90]], [7, 8, 8, 7]);
});

test("shared memory is never kept", () => {
  const spare = new SpareMemory();
  const shared = new Uint8Array(new SharedArrayBuffer(100));
  spare.keep(shared);
  assert.notEqual(spare.copy(filled(80, 5)).buffer, shared.buffer);
});
