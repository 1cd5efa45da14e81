// Guests of different emulators in one room, and one in another room.
import { demand } from "./checks.mjs";
import { startQemu } from "./qemu.mjs";
import { startV86 } from "./v86.mjs";

const PORT = 8080;

async function start(gateway, how, path) {
  const { shell, stop } = await how({ nic: "virtio", mtu: 1500, url: new URL(path, gateway).href });
  const { address } = await shell.bringUp(1500);
  return { shell, stop, address };
}

/** A web server that tells whose it is. */
async function serve({ shell }, name) {
  await shell.must(`mkdir -p /tmp/www && echo ${name} >/tmp/www/index.html && httpd -p ${PORT} -h /tmp/www`);
}

const get = ({ shell }, address) => shell.run(`timeout 5 wget -q -O - http://${address}:${PORT}/`);
const ping = ({ shell }, address) => shell.run(`ping -c 2 -W 2 ${address}`);

async function together({ one, other }) {
  for (const [from, to, name] of [[one, other, "other"], [other, one, "one"]]) {
    await from.shell.must(`ping -c 3 -W 5 ${to.address}`);
    const { output } = await get(from, to.address);
    demand(output.trim() === name, `at ${to.address}: ${output}`);
  }
  return `${one.address} and ${other.address}`;
}

/** The stranger has a neighbour's addresses and says so, to all. */
async function apart({ one, other, stranger }) {
  const addresses = [one.address, other.address].filter((it) => it !== stranger.address);
  for (const address of addresses) {
    demand((await ping(stranger, address)).code !== 0, `${address} answers the ping of a stranger`);
    demand((await get(stranger, address)).code !== 0, `${address} serves a stranger`);
    demand((await stranger.shell.run(`arping -c 2 -w 3 -I eth0 ${address}`)).code !== 0, `${address} is told to a stranger`);
  }
  const spoof = addresses.map((it) => `ip address add ${it}/24 dev eth0; arping -U -c 3 -I eth0 -s ${it} ${it}`).join("; ");
  await stranger.shell.run(`${spoof}; ping -b -c 3 -W 1 192.168.127.255`);
  await together({ one, other });
  const lines = await one.shell.must("cat /proc/net/arp");
  const mac = (await stranger.shell.must("cat /sys/class/net/eth0/address")).trim();
  demand(!lines.includes(mac), `the stranger is known in the room:\n${lines}`);
  return `${addresses.length} addresses`;
}

/** Starts the guests, and has them try to reach each other. */
export async function meet(gateway, timed) {
  const guests = {};
  const add = (name, how, path) =>
    timed(`meeting ${name}`, async () => {
      guests[name] = await start(gateway, how, path);
      await serve(guests[name], name);
      return { words: guests[name].address };
    });
  try {
    await add("one", startV86, "/ethernet/meeting");
    await add("other", startQemu, "/qemu/meeting");
    await add("stranger", startV86, "/ethernet/elsewhere");
    await timed("meeting together", async () => ({ words: await together(guests) }));
    await timed("meeting apart", async () => ({ words: await apart(guests) }));
  } finally {
    for (const guest of Object.values(guests)) await guest.stop();
  }
}
