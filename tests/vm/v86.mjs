// The guest under v86.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { V86 } from "v86";
import WebSocket from "ws";
import { Shell } from "./console.mjs";
import { IMAGE, KERNEL } from "./image.mjs";
import { holdFrames, listen, machineOptions, MEMORY } from "./machine.mjs";

/** v86's WebAssembly. */
export const WASM = createRequire(import.meta.url).resolve("v86/build/v86.wasm");

const buffer = (octets) => octets.buffer.slice(octets.byteOffset, octets.byteOffset + octets.byteLength);
const part = (name) => ({ buffer: buffer(readFileSync(join(IMAGE, name))) });

/** v86 writes a line for each frame that its virtio card has no buffer for; they are counted instead. */
let refusedFrames = 0;
const { log } = console;
console.log = (...words) => (words[0] === "No buffer to write into!" ? refusedFrames++ : log(...words));

/**
 * Starts a guest with a network card of this kind ("virtio" or "ne2k"). `url` is v86's relay_url; without one, `attach` is
 * called with the emulator before it runs. `state` is where the machine goes on, of those that it has saved. The first start
 * takes some 20 s; others begin with the state that it has saved, in which the card's driver is not loaded yet, so that each
 * guest gets a MAC address of its own.
 */
export async function startV86(options) {
  const { nic, mtu, url, attach, socket = WebSocket, state: wanted } = options;
  // v86 takes the browser's, when its machine sends its first frame.
  globalThis.WebSocket = socket;
  const machine = new V86(machineOptions({ nic, mtu, url, keepsDriver: wanted !== undefined }, KERNEL, part, WASM));
  const shell = new Shell({ onText: (listener) => listen(machine, listener), send: (text) => machine.serial0_send(text) });
  await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
  const state = stateFile(nic);
  const saved = wanted ?? (existsSync(state) && buffer(gunzipSync(readFileSync(state))));
  if (saved) await machine.restore_state(saved);
  if (url) holdFrames(machine);
  const port = attach?.(machine);
  machine.run();
  if (!saved) {
    await shell.booted();
    await shell.must(":");
    await machine.stop();
    writeFileSync(`${state}.${process.pid}`, gzipSync(new Uint8Array(await machine.save_state()), { level: 1 }));
    renameSync(`${state}.${process.pid}`, state);
    machine.run();
  }
  await shell.must(":");
  const before = refusedFrames;
  const refused = () => refusedFrames - before;
  const restart = (from) => startV86({ ...options, state: from });
  let ended;
  return { shell, machine, port, refused, restart, stop: () => (ended ??= machine.destroy()) };
}

/** Where the state is that a first start has saved; it fits this guest, this v86 and this kind of card. */
export function stateFile(nic) {
  const hash = createHash("sha256");
  for (const text of [readFileSync(join(IMAGE, "manifest.json")), readFileSync(WASM), KERNEL, String(MEMORY), nic]) {
    hash.update(text);
  }
  return join(IMAGE, `state-${hash.digest("hex").slice(0, 16)}.gz`);
}
