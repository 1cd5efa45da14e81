import { within } from "../client/context.mjs";

export const about = "no special-purpose address is reached, by TCP (split, too), UDP or ping, however written; all fail at once";
export const deadline = 120;
export const where = ["chromium"];
export const egress = true;
export const strict = true;
export const host = { reached: ({ reached }) => reached() };

/** Attempts at once. */
const AT_ONCE = 6;
/** Milliseconds in which an attempt has to fail: far below what a lost SYN takes. */
const AT_ONCE_MEANS = 20_000;
const DENIED = ["EACCES"];
const OPEN = ["45.33.7.53", "2600:1f00::53"];

async function read(socket) {
  const { readable } = await socket.opened;
  const { value } = await readable.getReader().read();
  return new TextDecoder().decode(value);
}

/** The ways to a destination, each of which gives what came from there. */
const WAYS = {
  TCP: (net, to, port) => read(new net.TCPSocket(to, port)),
  "split TCP": (net, to, port) => read(new net.TCPSocket(to, port, { split: true })),
  UDP: async (net, remoteAddress, remotePort) => {
    const socket = new net.UDPSocket({ remoteAddress, remotePort });
    socket.closed.catch(() => {});
    const { readable, writable } = await socket.opened;
    const reading = readable.getReader().read();
    // A denial breaks both streams; it is told by the one that is read.
    writable.getWriter().write({ data: new TextEncoder().encode("?") }).catch(() => {});
    const { value } = await reading;
    return new TextDecoder().decode(value.data);
  },
  ping: async (net, to) => (await net.ping(to, { timeout: AT_ONCE_MEANS })) && "reached",
};

/** Those by packets of the client's own. */
const PACKETS = ["TCP", "UDP", "ping"];

/** How an attempt ends: by an error's code, or by what came. */
async function attempt(t, net, to, port, way = "TCP") {
  const what = `${way} to ${to}`;
  const start = performance.now();
  try {
    return `reached: ${await within(WAYS[way](net, to, port), what, AT_ONCE_MEANS)}`;
  } catch (error) {
    t.check(performance.now() - start < AT_ONCE_MEANS, `${what}: ${error.message}`);
    t.check(error.code === undefined || error instanceof DOMException, `${what}: no DOMException: ${error}`);
    return error.code;
  }
}

async function tryAll(t, net, { destinations, port }) {
  // Where the client's own stack answers, or the gateway's inner host, each way has an end of its own.
  const waysTo = ({ codes, ways = PACKETS }) => (codes ? ["TCP"] : [...ways, "split TCP"]);
  const waiting = destinations.flatMap((next) => waysTo(next).map((way) => ({ ...next, way })));
  const wrong = [];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { to, is, way, codes = DENIED } = next;
      const outcome = await attempt(t, net, to, port, way);
      if (!codes.includes(outcome)) wrong.push(`${way} to ${to} (${is}): ${outcome}, and not ${codes.join(" or ")}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  t.equal(wrong.join("; "), "", "what is wrong");
}

/** A name that is open when it is first asked for and then something else: judged is where a connection goes. */
async function rebind(t, net, { rebinding, port }) {
  for (const [index, hex] of rebinding.entries()) {
    for (const way of ["TCP", "split TCP"]) {
      const name = `${index}${Math.random().toString(36).slice(2)}-${hex}.rebind.test`;
      t.equal(await attempt(t, net, name, port, way), "reached: reached", `${way} to ${name} at first`);
      t.equal(await attempt(t, net, name, port, way), "EACCES", `${way} to ${name} thereafter`);
    }
  }
}

export default async function (t) {
  const table = await (await fetch(new URL("forbidden.json", import.meta.url))).json();
  const net = await t.open({ gateway: "strict", token: "strict-first" });
  // Unless what is allowed gets there, nothing is shown by what does not.
  for (const address of OPEN) {
    for (const way of Object.keys(WAYS)) {
      t.equal(await attempt(t, net, address, table.port, way), "reached: reached", `${way} to ${address}`);
    }
  }
  await tryAll(t, net, table);
  await rebind(t, net, table);
  const strangers = (await t.host("reached")).filter((address) => !OPEN.includes(address.replace("::ffff:", "")));
  t.equal(strangers.join(" "), "", "addresses that were reached");
  return `${table.destinations.length} destinations, ${table.rebinding.length} names that rebind`;
}
