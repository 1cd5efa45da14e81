// The page of a guest: v86, and a WebSocket by which the test in Node has the guest's console and the page's Ethernet.
import { V86 } from "/v86/libv86.mjs";
import { holdFrames, listen, machineOptions } from "/vm/machine.mjs";

const { nic, mtu, path, ethernet, kernel, state } = await (await fetch("/guest.json")).json();
const here = location.origin.replace("http", "ws");

const console = new WebSocket(`${here}/console`);
await new Promise((resolve) => (console.onopen = resolve));
const tell = (message) => console.send(JSON.stringify(message));
addEventListener("error", ({ message }) => tell({ failed: message }));
addEventListener("unhandledrejection", ({ reason }) => tell({ failed: String(reason) }));

const part = (name) => ({ url: `/image/${name}` });
const url = path && here + path;
const machine = new V86(machineOptions({ nic, mtu, url }, kernel, part, "/v86/v86.wasm"));
listen(machine, (text) => tell({ text }));
await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
if (state) {
  const stream = (await fetch(`/image/${state}`)).body.pipeThrough(new DecompressionStream("gzip"));
  await machine.restore_state(await new Response(stream).arrayBuffer());
}
if (url) holdFrames(machine);

let net;
if (ethernet) {
  const [{ openEthernet }, { attach }] = await Promise.all([import("/webtun/ethernet.js"), import("/webtun/v86.js")]);
  net = await openEthernet(here, ethernet);
  attach(machine, net);
}

const mapped = new Map();
const calls = {
  async map(port) {
    const it = await net.mapPort(port);
    mapped.set(port, it);
    return it.external;
  },
  unmap: (port) => mapped.get(port).close(),
};
console.onmessage = async ({ data }) => {
  const { text, call, argument, id } = JSON.parse(data);
  if (text !== undefined) return machine.serial0_send(text);
  try {
    tell({ id, value: (await calls[call](argument)) ?? null });
  } catch (error) {
    tell({ id, error: String(error) });
  }
};
machine.run();
tell({ runs: true });
