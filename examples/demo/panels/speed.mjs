// How fast octets go down and up, with a live plot.
import { chart } from "../lib/chart.mjs";
import { choice, facts, field } from "../lib/dom.mjs";
import { octets, rate } from "../lib/format.mjs";
import { get } from "../lib/http.mjs";
import { card, row, starter } from "../lib/panel.mjs";

const HOST = "www.playground.test";
/** The playground's port that counts to the end of the stream, and tells. */
const SINK = 8;
const CHUNK = 256 << 10;
/** More octets than a test moves. */
const ENDLESS = 8 * 1024 ** 3;
/** A point of the plot, in milliseconds. */
const STEP = 200;

export function speed(context) {
  const host = field("Host with the playground's servers", { value: HOST, required: true });
  const seconds = choice("Seconds", ["5", "2", "10", "30"]);
  const shown = facts({ down: "Down", up: "Up", moved: "Moved" }, ["down", "up"]);
  const plot = chart([{ label: "down", colour: "--accent" }, { label: "up", colour: "--second" }], rate);
  const frame = card("Speed", "TCP from the playground to this tab, and then back. Up counts what the server says it got.");
  const run = starter(frame, { start: "Measure", stop: "Stop" }, (signal) => measure(Number(seconds.input.value), signal));
  frame.element.lastChild.before(row(run.button, host.wrapped, seconds.wrapped), shown.element, plot.element);

  const measure = async (duration, signal) => {
    const net = await context.net;
    plot.clear();
    const began = performance.now();
    frame.says("Receiving.");
    const down = await download(net, host.input.value, duration, meter(began, (at, value) => plot.push(at, value, null)), signal);
    shown.show({ down: rate(down.rate) });
    frame.says("Sending.");
    const up = await upload(net, host.input.value, duration, meter(began, (at, value) => plot.push(at, null, value)), signal);
    shown.show({ up: rate(up.rate), moved: `${octets(down.count)} down, ${octets(up.count)} up` });
    frame.says("Done.", "good");
    return { down, up };
  };

  const check = async () => {
    const { down, up } = await run.start();
    if (down.count === 0 || up.count === 0) throw new Error("nothing moved");
    return `${rate(down.rate)} down, ${rate(up.rate)} up`;
  };
  return { name: "speed", element: frame.element, check };
}

/** Counts octets, and reports octets per second for each step: `show(seconds, rate)`. */
function meter(began, show) {
  let since = performance.now();
  let count = 0;
  return (length) => {
    count += length;
    const now = performance.now();
    if (now - since < STEP) return;
    show((now - began) / 1000, (1000 * count) / (now - since));
    since = now;
    count = 0;
  };
}

async function download(net, host, duration, count, signal) {
  const { body, status, reason } = await get(net, `http://${host}/blob?size=${ENDLESS}`, signal);
  if (status !== 200) throw new Error(`${host} answered ${status} ${reason}; is it a playground?`);
  const began = performance.now();
  let total = 0;
  for await (const chunk of body) {
    signal.throwIfAborted();
    total += chunk.length;
    count(chunk.length);
    if (performance.now() - began > 1000 * duration) break;
  }
  return { count: total, rate: (1000 * total) / (performance.now() - began) };
}

async function upload(net, host, duration, count, signal) {
  const socket = new net.TCPSocket(host, SINK);
  const { readable, writable } = await socket.opened;
  socket.closed.catch(() => {});
  const writer = writable.getWriter();
  const began = performance.now();
  const chunk = new Uint8Array(CHUNK);
  while (performance.now() - began < 1000 * duration) {
    signal.throwIfAborted();
    await writer.write(chunk.slice());
    count(CHUNK);
  }
  await writer.close();
  // What was written may still be under way: the receipt is the end.
  const receipt = JSON.parse(await new Response(readable).text());
  return { count: receipt.octets, rate: (1000 * receipt.octets) / (performance.now() - began) };
}
