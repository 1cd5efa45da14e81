// ICMP echo with a live plot of the round-trip time.
import { chart } from "../lib/chart.mjs";
import { field, facts } from "../lib/dom.mjs";
import { explainShortly } from "../lib/explain.mjs";
import { milliseconds } from "../lib/format.mjs";
import { card, row, starter } from "../lib/panel.mjs";

const TIMEOUT = 2000;

export function ping(context) {
  const host = field("Host", { value: "www.playground.test", list: "hosts", required: true });
  const interval = field("Every (ms)", { type: "number", value: 250, min: 20, max: 10000, required: true }, "narrow");
  const shown = facts({ last: "Last", average: "Average", range: "Least and most", lost: "Lost" }, ["last", "average"]);
  const plot = chart([{ label: "round-trip time", colour: "--accent" }], milliseconds);
  const frame = card("Ping", "ICMP echo requests from this tab, answered by the host itself.");
  const run = starter(frame, { start: "Start", stop: "Stop" }, (signal) => pingOnAndOn(signal, Infinity));
  frame.element.lastChild.before(row(run.button, host.wrapped, interval.wrapped), shown.element, plot.element);

  const pingOnAndOn = async (signal, times) => {
    const net = await context.net;
    const tally = { began: performance.now(), sent: 0, lost: 0, least: Infinity, most: 0, sum: 0 };
    plot.clear();
    frame.says("");
    for (let count = 0; count < times; count += 1) {
      signal?.throwIfAborted();
      const due = performance.now() + Number(interval.input.value);
      await once(net, tally);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    }
    return tally;
  };

  const once = async (net, tally) => {
    tally.sent += 1;
    const seconds = (performance.now() - tally.began) / 1000;
    try {
      const { rtt, address } = await net.ping(host.input.value, { timeout: TIMEOUT });
      tally.least = Math.min(tally.least, rtt);
      tally.most = Math.max(tally.most, rtt);
      tally.sum += rtt;
      plot.push(seconds, rtt);
      const answered = tally.sent - tally.lost;
      shown.show({ last: milliseconds(rtt), average: milliseconds(tally.sum / answered), range: `${milliseconds(tally.least)}, ${milliseconds(tally.most)}` });
      frame.says(`${address} answers.`, "good");
    } catch (error) {
      // A name that does not exist will not exist in a moment either.
      if (error.code !== "ETIMEDOUT" && error.code !== "EHOSTUNREACH") throw error;
      tally.lost += 1;
      plot.push(seconds, null);
      frame.says(explainShortly(error), "bad");
    }
    shown.show({ lost: `${tally.lost} of ${tally.sent}` });
  };

  const check = async () => {
    interval.input.value = 100;
    const tally = await pingOnAndOn(undefined, 20);
    interval.input.value = 250;
    if (tally.lost > 0) throw new Error(`${tally.lost} of ${tally.sent} got no answer`);
    const v6 = await (await context.net).ping("www.playground.test", { family: "ipv6" });
    return `${tally.sent} answers, ${milliseconds(tally.sum / tally.sent)} on average; ${v6.address} answers too`;
  };
  return { name: "ping", element: frame.element, check };
}
