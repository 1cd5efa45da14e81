// How fast a warm guest is by one of several ways out: lines `FIGURE VALUE` for `cargo xtask bench vm`, which tells where the
// others are. In Node, under v86, whose own speed is the limit.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { openEthernet } from "../../wasm/npm/dist/ethernet-node.js";
import { attach } from "../../wasm/npm/dist/v86.js";
import { iperf, PLAYGROUND, unread } from "./checks.mjs";
import { startV86 } from "./v86.mjs";

const { WEBTUN_URL, PLAYGROUND_NETNS, BENCH_PEERS, BENCH_VM_RELAY } = process.env;
const PORT = 18_087;

const { values: options } = parseArgs({ options: { by: { type: "string" }, smoke: { type: "boolean" } } });
const SECONDS = options.smoke ? 1 : 3;
/** v86 compiles the guest's code as it runs, and is faster each time for a while. */
const WARM_UP = options.smoke ? 0 : 4;
const MTUS = options.smoke || options.by === "v86 wisp" ? [1500] : [1500, 65_000];

/** The segment of the reference relay: the playground has its first address, and the guest this one. */
const [RELAY, GUEST] = ["10.5.0.1", "10.5.0.50"];

const isListening = () =>
  new Promise((resolve) => {
    const socket = connect(PORT, "127.0.0.1");
    socket.on("error", () => resolve(false)).on("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });

/** A server at our port; ended with this process, or by what it resolves to. */
async function serve(command, args) {
  const program = spawn(command, args, { stdio: "ignore" });
  process.on("exit", () => program.kill());
  while (!(await isListening())) await delay(100);
  return async () => {
    program.kill();
    // The port is free, and so is the name of the device.
    await once(program, "exit");
  };
}

const run = async (line) => once(spawn("ip", line.split(" "), { stdio: "ignore" }), "exit");

/** Each starts what it needs and a guest, whose network is there then. */
const WAYS = {
  async relay(mtu) {
    const relay = join(BENCH_VM_RELAY, "tap_relay.py");
    const end = await serve("python3", [relay, "--port", `${PORT}`, "--netns", PLAYGROUND_NETNS]);
    await run(`-n ${PLAYGROUND_NETNS} address add ${RELAY}/24 dev tap0`);
    await run(`-n ${PLAYGROUND_NETNS} link set tap0 mtu ${mtu} up`);
    const guest = await startV86({ nic: "virtio", mtu, url: `ws://127.0.0.1:${PORT}/` });
    await guest.shell.must(`nic mtu ${mtu}; ip address add ${GUEST}/24 dev eth0; ip route add default via ${RELAY}`);
    return { ...guest, end };
  },
  async door(mtu) {
    const url = new URL(`/ethernet/?mtu=${mtu}`, WEBTUN_URL).href;
    const guest = await startV86({ nic: "virtio", mtu, url });
    await guest.shell.bringUp(mtu);
    return guest;
  },
  async adapter(mtu) {
    const net = await openEthernet(WEBTUN_URL, { mtu });
    const guest = await startV86({ nic: "virtio", mtu, attach: (machine) => attach(machine, net) });
    await guest.shell.bringUp(mtu);
    return { ...guest, end: () => net.close() };
  },
  /** TCP only, and frames of the usual length. */
  async "v86 wisp"(mtu) {
    const { MODULES } = await import(pathToFileURL(join(BENCH_PEERS, "lib/paths.mjs")).href);
    const program = join(MODULES, "@mercuryworkshop/wisp-js/src/bin/server_cli.mjs");
    const may = JSON.stringify({ allow_loopback_ips: true, allow_private_ips: true });
    const end = await serve(process.execPath, [program, "-H", "127.0.0.1", "-P", `${PORT}`, "-L", "ERROR", "-O", may]);
    const guest = await startV86({ nic: "virtio", mtu, url: `wisp://127.0.0.1:${PORT}/` });
    await guest.shell.must("nic dhcp");
    return { ...guest, end };
  },
};

/** With as much room in the guest's socket as its kernel gives without being told to: by default it is half of that. */
const UDP = "-u -l 1200 -b 20M -w 208K -R";
const TCP = { down: "-R", up: "" };
const mbit = ({ sum_received: { bits_per_second } }) => bits_per_second / 1e6;

async function measure(by, mtu) {
  const guest = await WAYS[by](mtu);
  const test = (flags, seconds = SECONDS) => iperf(guest, flags, { server: PLAYGROUND.v4, seconds });
  for (let count = 0; count < WARM_UP; count++) for (const flags of Object.values(TCP)) await test(flags);
  for (const [figure, flags] of Object.entries(TCP)) console.log(`${figure}, MTU ${mtu} ${mbit(await test(flags))}`);
  if (by !== "v86 wisp") {
    // TCP has warmed up other parts of the guest.
    await test(UDP);
    const before = await unread(guest);
    const { lost_percent: lost, lost_packets: count, packets } = (await test(UDP)).sum;
    const onTheWay = Math.max(count - ((await unread(guest)) - before), 0);
    console.log(`UDP lost, MTU ${mtu} ${lost}`);
    console.log(`UDP lost on the way, MTU ${mtu} ${(100 * onTheWay) / packets}`);
  }
  await guest.stop();
  await guest.end?.();
}

for (const mtu of MTUS) await measure(options.by, mtu);
process.exit(0);
