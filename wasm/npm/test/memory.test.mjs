// What a socket reserves costs nothing before it is used, and what cannot be had is refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { initSync, WasmStack } from "../generated/webtun.js";

const MIB = 1024 * 1024;
/** As in src/engine/codes.ts. */
const ENOBUFS = -32;

const bytes = readFileSync(new URL("../dist/webtun_bg.wasm", import.meta.url));
const { memory } = initSync({ module: new WebAssembly.Module(bytes) });
const stack = new WasmStack(new Uint8Array(32).fill(7), 0);
// A peer within: without one the sockets would be refused, and their buffers used again.
stack.tcp_listen("127.0.0.1", 7, 4096, false, 0);
const connect = (receive, send) => stack.tcp_connect("127.0.0.1", 7, false, 0, receive, send, 0, 0);

test("a thousand sockets of 1 MiB and 256 KiB are hardly resident", () => {
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 1000; i++) assert.ok(connect(MIB, MIB / 4) >= 0);
  const grown = process.memoryUsage().rss - before;
  assert.ok(memory.buffer.byteLength > 1250 * MIB, "they are reserved");
  assert.ok(grown < 64 * MIB, `${grown / MIB} MiB for 1,000 sockets`);
});

test("beyond the linear memory a socket is refused, and the stack goes on", () => {
  let result = 0;
  for (let i = 0; result >= 0; i++) {
    assert.ok(i < 1000, "4 GiB are less than 1,000 times 8 MiB");
    result = connect(4 * MIB, 4 * MIB);
  }
  assert.equal(result, ENOBUFS);
  assert.equal(connect(4 * MIB, 4 * MIB), ENOBUFS);
  assert.ok(memory.buffer.byteLength <= (4096 - 256) * MIB, "the rest is left to the allocator");
  assert.notEqual(stack.input(16 * MIB), 0, "which can still give");
});
