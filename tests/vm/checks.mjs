// What a guest must be able to do. Each gives a few words about how it went, or throws.
import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { mapByPcp } from "./pcp.mjs";

export const PLAYGROUND = { v4: "198.18.0.2", v6: "2001:2::2" };
/** The gateway's machine as the playground sees it: the address that it announces is known to its own network alone. */
const OUTSIDE = "198.18.0.1";
const WWW = "www.playground.test";
const MINUTE = 60_000;

export function demand(holds, text) {
  if (!holds) throw new Error(text);
}

/** The hash of what the playground serves, from itself. */
export async function blobHash(size) {
  return (await (await fetch(`http://${PLAYGROUND.v4}/sha256?size=${size}`)).text()).trim();
}

async function lease({ shell, mtu }) {
  const lease = await shell.bringUp(mtu);
  demand(/^192\.168\.127\./.test(lease.address), `an address elsewhere: ${lease.address}`);
  demand(lease.router === "192.168.127.1" && lease.dns === lease.router, `another router: ${JSON.stringify(lease)}`);
  demand(lease.mtu === mtu, `an MTU of ${lease.mtu} instead of ${mtu}`);
  return lease.address;
}

/** The lease asked for again before its time, and given back, by the guest's own client of DHCP. */
async function renewal({ shell, mtu }) {
  const logged = (text) => `for i in $(seq 50); do grep -q '${text}' /tmp/dhcp && break; usleep 100000; done; grep '${text}' /tmp/dhcp`;
  // No child of this shell: when one ends while it waits for a line, it takes that for its input's end.
  await shell.must("(udhcpc -f -i eth0 -t 8 -T 1 -p /tmp/dhcp.pid >/tmp/dhcp 2>&1 &)");
  await shell.must(logged("guest: bound"));
  await shell.must("kill -USR1 $(cat /tmp/dhcp.pid)");
  const renewed = /guest: renew ip=(\S+)\//.exec(await shell.must(logged("guest: renew")))[1];
  await shell.must("kill -USR2 $(cat /tmp/dhcp.pid)");
  await shell.must(logged("a release of"));
  await shell.must("kill $(cat /tmp/dhcp.pid)");
  const { address } = await shell.bringUp(mtu);
  demand(address === renewed, `${address} after ${renewed} was given back`);
  return `${address} renewed, released, and taken again`;
}

/** From v86's own router. */
async function leaseOfV86({ shell, mtu }) {
  const { address, router } = await shell.bringUp(mtu);
  demand(address === "192.168.86.100" && router === "192.168.86.1", `another lease: ${address} ${router}`);
  return address;
}

/** By TCP, since v86 answers queries by UDP itself: what it carries by Wisp is TCP alone. */
async function namesByTcp({ shell }) {
  await shell.must(`printf 'nameserver ${PLAYGROUND.v4}\\noptions use-vc\\n' >/etc/resolv.conf`);
  const output = await shell.must(`wget -O /dev/null http://${WWW}/`);
  demand(output.includes(`(${PLAYGROUND.v4}:80)`), output);
  return WWW;
}

/** What is not there, and what policy denies: the guest's connection ends. */
async function refused({ shell }) {
  for (const url of [`http://${PLAYGROUND.v4}:1/`, "http://10.9.8.7/"]) {
    const { code, output } = await shell.run(`wget -T 20 -O /dev/null ${url}`, MINUTE);
    demand(code !== 0 && !/timed out/.test(output), `${url}: ${output}`);
  }
}

async function ping({ shell }) {
  const output = await shell.must(`ping -c 3 -W 5 ${WWW}`);
  demand(output.includes(`(${PLAYGROUND.v4})`) && / 0% packet loss/.test(output), output);
  return /= ([\d.]+)\//.exec(output)?.[1].concat(" ms at best");
}

async function traceroute({ shell }) {
  const output = await shell.must(`traceroute -n -q 2 -w 5 -m 8 ${PLAYGROUND.v4}`);
  const hops = [...output.matchAll(/^\s*\d+\s+(\S+)/gm)].map(([, hop]) => hop);
  demand(hops[0] === "192.168.127.1" && hops.at(-1) === PLAYGROUND.v4, output);
  return `${hops.length} hops`;
}

const download = (size) => async ({ shell }) => {
  const expected = await blobHash(size);
  const start = performance.now();
  const output = await shell.must(`wget -q -O - 'http://${WWW}/blob?size=${size}' | sha256sum`, 5 * MINUTE);
  demand(output.includes(expected), `the hash is ${output.trim()} instead of ${expected}`);
  return `${size >> 20} MiB in ${((performance.now() - start) / 1000).toFixed(1)} s`;
};

/** The server is busy; or a datagram by which a test by UDP begins was lost, as iperf3 sends it once. */
const TRANSIENT = /busy|unable to read from stream socket/;

/** Runs iperf3; figures are what the receiver got. */
export async function iperf({ shell }, flags, { server = "iperf.playground.test", seconds = 2 } = {}) {
  // The server takes one test at a time, and the last one's end may still be on its way.
  const command = `iperf3 -J -t ${seconds} -c ${server} ${flags}`;
  let result;
  for (let turn = 0; turn < 5; turn++) {
    result = JSON.parse((await shell.run(command, MINUTE)).output);
    if (!TRANSIENT.test(result.error ?? "")) break;
    await delay(1000);
  }
  demand(!result.error, `iperf3 ${flags}: ${result.error}`);
  return result.end;
}

const rate = (bits) => `${(bits / 1e6).toFixed(1)} Mbit/s`;

async function tcp(guest, flags) {
  const { sum_received: sum } = await iperf(guest, flags);
  demand(sum.bytes > 0, "nothing has arrived");
  return rate(sum.bits_per_second);
}

/** Datagrams that the guest's own sockets had no room for: it was too slow to read them, and no network's fault. */
export async function unread({ shell }) {
  const [, names, values] = /^Udp: (.*)\nUdp: (.*)$/m.exec(await shell.must("grep ^Udp: /proc/net/snmp"));
  return Number(values.split(" ")[names.split(" ").indexOf("RcvbufErrors")]);
}

/** `most` is the part of the datagrams that may be lost on the way. */
async function udp(guest, flags, megabits, most) {
  const before = await unread(guest);
  // Left to itself iperf3 takes datagrams as long as the segment's MTU, and gives up when it hears of the path's.
  const { sum } = await iperf(guest, `-u -l 1200 -b ${guest.nic === "ne2k" ? 1 : megabits}M ${flags}`);
  const { lost_packets: all, packets } = sum;
  const lost = all - ((await unread(guest)) - before);
  demand(packets > 0 && lost <= most * packets, `${all} of ${packets} are lost, ${lost} of them on the way`);
  return `${rate(sum.bits_per_second)}, ${all} of ${packets} lost, ${Math.max(lost, 0)} on the way`;
}

const tcpUp = (guest) => tcp(guest, "");
const tcpDown = (guest) => tcp(guest, "-R");
// What goes up is lost where the playground is too slow, too.
const udpUp = (guest) => udp(guest, "", 5, 0.1);
const udpDown = (guest) => udp(guest, "-R", 20, 0.01);

async function ipv6({ shell }) {
  await shell.must("for i in $(seq 50); do ip -6 route | grep -q ^default && break; usleep 100000; done; ip -6 route");
  await shell.must(`ping -6 -c 2 -W 5 ${PLAYGROUND.v6}`);
  const expected = await blobHash(100_000);
  const output = await shell.must(`wget -q -O - 'http://[${PLAYGROUND.v6}]/blob?size=100000' | sha256sum`);
  demand(output.includes(expected), `another hash: ${output}`);
  return "ping and HTTP";
}

/** What a web server says to the world, which is where the playground is. */
async function fromOutside(port, patience = 5000) {
  const script = `fetch(process.argv[1], { signal: AbortSignal.timeout(${patience}) }).then((it) => it.text()).then(console.log)`;
  const command = ["netns", "exec", process.env.PLAYGROUND_NETNS, process.execPath, "-e", script, `http://${OUTSIDE}:${port}/`];
  return (await promisify(execFile)("ip", command)).stdout.trim();
}

/** A web server in the guest, reached from outside by a port that the guest maps, and by one that the page maps. */
async function inbound({ shell, net, name }) {
  const [, address] = /inet (\S+)\//.exec(await shell.must("ip -4 address show eth0"));
  await shell.must(`mkdir -p /tmp/www && echo ${name} >/tmp/www/index.html && httpd -p 8080 -h /tmp/www`);
  const reach = async ({ release, ...external }, who) => {
    demand((await fromOutside(external.port)) === name, `another server answers at the port that the ${who} has mapped`);
    // A port has one owner.
    await release();
    const still = await fromOutside(external.port, 1000).catch(() => undefined);
    demand(still === undefined, `the port that the ${who} has given back is open`);
    return `${external.address}:${external.port}`;
  };
  const ways = [await reach(await mapByPcp(shell, address, 8080), "guest")];
  if (net) {
    const mapped = await net.mapPort(8080);
    ways.push(await reach({ ...mapped.external, release: () => mapped.close() }, "page"));
  }
  await shell.must("killall httpd");
  return ways.join(", ");
}

/** The adapter gives the card no frame that it has no room for. */
async function room({ refused }) {
  demand(refused() === 0, `the card had no buffer for ${refused()} frames`);
  return "for each frame";
}

export const CHECKS = { lease, renewal, ping, traceroute, download: download(32 << 20), tcpUp, tcpDown, udpUp, udpDown, ipv6, inbound };
/** By the adapter, with a virtio card in Node, where v86 tells of each frame that it has to drop. */
export const ADAPTER = { ...CHECKS, room };
/** With v86's NE2000, by which 32 MiB take more than a minute: `--full` has them. */
export const SLOW = { ...CHECKS, download: download(4 << 20) };
/** By v86's client of Wisp. */
export const WISP = { lease: leaseOfV86, names: namesByTcp, download: download(32 << 20), refused };
