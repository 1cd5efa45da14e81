// What may happen to a guest, whose network has to be there again afterwards. As with checks: a few words, or it throws.
import { setTimeout as delay } from "node:timers/promises";
import { blobHash, demand, PLAYGROUND } from "./checks.mjs";

/** Seconds within which a gateway that is back has to be found: v86 and tunnels try every 10 seconds at the latest. */
const FOUND_WITHIN = 12;

const LEASE = "udhcpc -i eth0 -n -q -t 2 -T 1";
const PING = `ping -c 1 -W 1 ${PLAYGROUND.v4}`;

/** The machine starts while the gateway is down. */
async function late({ shell, proxy }) {
  await shell.must("nic");
  demand((await shell.run(`${LEASE} && ${PING}`)).code !== 0, "the network is there without a gateway");
  await proxy.open();
  const start = performance.now();
  await shell.run(`for i in $(seq 20); do ${LEASE} && ${PING} && break; done`);
  const seconds = (performance.now() - start) / 1000;
  await shell.must(PING);
  demand(seconds <= FOUND_WITHIN, `the gateway was found after ${seconds.toFixed(1)} s`);
  return `found after ${seconds.toFixed(1)} s`;
}

/** Connections of the guest go on after a cut. */
async function cut({ shell, proxy }) {
  const size = 32 << 20;
  const done = shell.must(`wget -q -O - 'http://${PLAYGROUND.v4}/blob?size=${size}' | sha256sum`, 5 * 60_000);
  const cuts = delay(1000).then(() => proxy.cut());
  const [output, expected] = await Promise.all([done, blobHash(size), cuts]);
  demand(output.includes(expected), `the hash is ${output.trim()} instead of ${expected}`);
  return "32 MiB, cut once";
}

/** On the wire: v86's NE2000 has an address for each machine, and translates for a guest that knows another. */
const wireMac = ({ v86 }) => Buffer.from(v86.cpu.devices.net.mac).toString("hex");

/** A machine goes on from a saved state, with a network card that has another address. */
async function restored({ machine, port, restart, stop: end }) {
  const before = wireMac(machine);
  await machine.stop();
  const state = await machine.save_state();
  port?.unplug();
  await end();
  const { shell, stop, machine: after } = await restart(state);
  try {
    demand(wireMac(after) !== before, `the card has the same address: ${before}`);
    await shell.must(`for i in $(seq 10); do ${PING} && break; done; ${PING}`);
    await shell.must(`wget -q -O /dev/null http://${PLAYGROUND.v4}/`);
  } finally {
    await stop();
  }
  return `ping and HTTP, from ${before} to ${wireMac(after)}`;
}

export const TROUBLES = { late, cut };
export const SAVED = { late, restored };
