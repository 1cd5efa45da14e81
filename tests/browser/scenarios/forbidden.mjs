import { within } from "../client/context.mjs";

export const about = "no special-purpose address is reached, however it is written or named, and each attempt fails at once";
export const deadline = 120;
export const where = ["chromium"];
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

/** How an attempt ends: by an error's code, or by what came. */
async function attempt(t, net, to, port) {
  const socket = new net.TCPSocket(to, port);
  const start = performance.now();
  try {
    return `reached: ${await within(read(socket), `TCP to ${to}`, AT_ONCE_MEANS)}`;
  } catch (error) {
    t.check(performance.now() - start < AT_ONCE_MEANS, `TCP to ${to}: ${error.message}`);
    t.check(error.code === undefined || error instanceof DOMException, `TCP to ${to}: no DOMException: ${error}`);
    return error.code;
  }
}

async function tryAll(t, net, { destinations, port }) {
  const waiting = [...destinations];
  const wrong = [];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { to, is, codes = DENIED } = next;
      const outcome = await attempt(t, net, to, port);
      if (!codes.includes(outcome)) wrong.push(`${to} (${is}): ${outcome}, and not ${codes.join(" or ")}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  t.equal(wrong.join("; "), "", "what is wrong");
}

/** A name that is open when it is first asked for and then something else: each connection is judged by where it goes. */
async function rebind(t, net, { rebinding, port }) {
  for (const [index, hex] of rebinding.entries()) {
    const name = `${index}${Math.random().toString(36).slice(2)}-${hex}.rebind.test`;
    t.equal(await attempt(t, net, name, port), "reached: reached", `${name} at first`);
    t.equal(await attempt(t, net, name, port), "EACCES", `${name} thereafter`);
  }
}

export default async function (t) {
  const table = await (await fetch(new URL("forbidden.json", import.meta.url))).json();
  const net = await t.open({ gateway: "strict", token: "strict-first" });
  // Unless what is allowed gets there, nothing is shown by what does not.
  for (const address of OPEN) t.equal(await attempt(t, net, address, table.port), "reached: reached", address);
  await tryAll(t, net, table);
  await rebind(t, net, table);
  const strangers = (await t.host("reached")).filter((address) => !OPEN.includes(address.replace("::ffff:", "")));
  t.equal(strangers.join(" "), "", "addresses that were reached");
  return `${table.destinations.length} destinations, ${table.rebinding.length} names that rebind`;
}
