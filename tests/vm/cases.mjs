// Which guests there are. Those that are not `full` are run by default.
import { openEthernet, relayWebSocket } from "../../wasm/npm/dist/ethernet-node.js";
import { attach } from "../../wasm/npm/dist/v86.js";
import { ADAPTER, SLOW, WISP } from "./checks.mjs";
import { startChromium } from "./chromium.mjs";
import { Proxy } from "./proxy.mjs";
import { startQemu } from "./qemu.mjs";
import { SAVED, TROUBLES } from "./troubles.mjs";
import { startV86 } from "./v86.mjs";

const door = (kind, room, mtu, options = "") => (gateway) => ({
  url: new URL(`/${kind}/${room}?mtu=${mtu}${options}`, gateway).href,
});

/** The client of Wisp in v86, which is a router of its own. */
const wisp = (gateway) => ({ url: new URL("/wisp/", gateway).href.replace(/^ws/, "wisp") });

const adapter = (mtu) => async (gateway) => {
  const net = await openEthernet(gateway, { mtu });
  return { net, attach: (machine) => attach(machine, net) };
};

/** The page opens it. */
const pages = (mtu) => () => ({ ethernet: { mtu } });

const relay = (framing, profile) => async (gateway) => {
  const net = await openEthernet(gateway, { profile });
  return { net, url: "ws://nowhere.invalid/", socket: relayWebSocket(net, { framing }) };
};

/** By a way that is closed at first. */
const late = (how) => async (gateway) => {
  const proxy = new Proxy(gateway);
  return { proxy, ...(await how(await proxy.reserve())) };
};

const v86 = (name, nic, mtu, how, more) => ({ name, nic, mtu, how, start: startV86, ...more });
const chromium = (name, nic, mtu, how, more) => ({ name, nic, mtu, how, start: startChromium, ...more });
const qemu = (name, mtu, how, more) => ({ name, nic: "virtio", mtu, how, start: startQemu, ...more });

const FULL = { full: true };

/**
 * Every way in, card and MTU that emulators have. By default v86 runs pairwise: each two of its place (Node, Chromium), its way
 * (door, adapter) and its card with an MTU meet in one of eight.
 */
export const CASES = [
  v86("v86-virtio", "virtio", 1500, door("ethernet", "v86-virtio", 1500)),
  v86("v86-ne2k", "ne2k", 1500, door("ethernet", "v86-ne2k", 1500), { checks: SLOW }),
  v86("v86-adapter-9000", "virtio", 9000, adapter(9000), { checks: ADAPTER }),
  v86("v86-adapter-65000", "virtio", 65000, adapter(65000), { checks: ADAPTER }),
  chromium("chromium-9000", "virtio", 9000, door("ethernet", "chromium-9000", 9000)),
  chromium("chromium-65000", "virtio", 65000, door("ethernet", "chromium-65000", 65000)),
  chromium("chromium-adapter-ne2k", "ne2k", 1500, pages(1500), { checks: SLOW }),
  chromium("chromium-adapter-1500", "virtio", 1500, pages(1500)),
  qemu("qemu", 1500, door("qemu", "qemu", 1500, "&profile=container2wasm")),
  v86("v86-wisp", "virtio", 9000, wisp, { checks: WISP }),
  v86("v86-adapter-saved", "ne2k", 1500, late(adapter(1500)), { checks: SAVED }),
  v86("v86-adapter-troubles", "virtio", 1500, late(adapter(1500)), { checks: TROUBLES, full: true }),
  v86("v86-saved", "ne2k", 1500, late(door("ethernet", "v86-saved", 1500)), { checks: SAVED, full: true }),
  v86("v86-troubles", "virtio", 1500, late(door("ethernet", "v86-troubles", 1500)), { checks: TROUBLES, full: true }),
  v86("v86-virtio-9000", "virtio", 9000, door("ethernet", "v86-virtio-9000", 9000), FULL),
  v86("v86-virtio-65000", "virtio", 65000, door("ethernet", "v86-virtio-65000", 65000), FULL),
  v86("v86-adapter-1500", "virtio", 1500, adapter(1500), { checks: ADAPTER, ...FULL }),
  v86("v86-adapter-ne2k", "ne2k", 1500, adapter(1500), FULL),
  v86("v86-relay-socket", "virtio", 1500, relay("frame"), FULL),
  qemu("qemu-relay-socket", 1500, relay("length", "container2wasm"), FULL),
  qemu("qemu-9000", 9000, door("qemu", "qemu-9000", 9000), FULL),
  qemu("qemu-65000", 65000, door("qemu", "qemu-65000", 65000), FULL),
  chromium("chromium-1500", "virtio", 1500, door("ethernet", "chromium-1500", 1500), FULL),
  chromium("chromium-adapter-9000", "virtio", 9000, pages(9000), FULL),
  chromium("chromium-adapter-65000", "virtio", 65000, pages(65000), FULL),
  chromium("chromium-ne2k", "ne2k", 1500, door("ethernet", "chromium-ne2k", 1500), FULL),
];
