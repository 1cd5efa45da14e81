import { sleep, within } from "../client/context.mjs";
import { Echo } from "../client/echo.mjs";

export const about = "close() ends a session at once, a page that goes away ends it after the grace";
export const egress = true;
export const strict = true;
export const where = ["chromium"];
export const deadline = 120;

const token = "strict-second";

export default async function (t) {
  await closing(t);

  // This token may have one session: a second one opens once the first has ended.
  const open = () => t.open({ gateway: "strict", token });
  const first = await open();
  await first.close();
  const second = await within(open(), "a session right after close()");
  await second.close();

  const frame = document.createElement("iframe");
  const told = new Promise((resolve) => addEventListener("message", ({ data }) => resolve(data), { once: true }));
  frame.src = `/client/frame.html#${encodeURIComponent(JSON.stringify({ url: t.url("strict"), token }))}`;
  document.body.append(frame);
  t.equal(await within(told, "the page within the page"), "connected", "what it says");
  t.equal(await t.host("tunnels"), 1, "open tunnels");
  frame.remove();
  await within(untilCut(t), "the end of the tunnel of a page that has gone");
  const start = performance.now();
  await within(untilOpen(open), "a session after the grace");
  return `opened again ${((performance.now() - start) / 1000).toFixed(1)} s after the page had gone`;
}

async function untilCut(t) {
  while ((await t.host("tunnels")) > 0) await sleep(50);
}

/** The sockets learn of the end, whatever they were waiting for. */
async function closing(t) {
  const net = await t.open();
  const { socket } = await Echo.open(net);
  const server = new net.TCPServerSocket("0.0.0.0");
  const { readable } = await server.opened;
  const accepting = readable.getReader().read();
  const connecting = new net.TCPSocket("blackhole.playground.test", 80);
  await net.close();
  t.equal(net.status.state, "closed", "the state after close()");
  await t.fails(socket.closed, "ENETDOWN", "an open socket");
  await t.fails(accepting, "ENETDOWN", "a listening socket");
  await t.fails(connecting.opened, "ENETDOWN", "a connecting socket");
  await t.fails(net.resolve("www.playground.test"), "ENETDOWN", "a name");
  await t.fails(new net.TCPSocket("www.playground.test", 80).opened, "ENETDOWN", "a new socket");
}

/** Tries until the gateway lets it in. */
async function untilOpen(open) {
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      await sleep(250);
    }
  }
}
