// Octets per second, each way.
import { chart } from "demo/chart.mjs";
import { facts } from "demo/dom.mjs";
import { octets } from "demo/format.mjs";
import { card } from "demo/panel.mjs";

const INTERVAL = 500;
const FIGURES = { down: "To the guest", up: "From the guest", frames: "Frames so far" };

export function traffic(context) {
  const figures = facts(FIGURES, Object.keys(FIGURES));
  const series = [
    { label: "to the guest", colour: "--accent" },
    { label: "from the guest", colour: "--second" },
  ];
  const plot = chart(series, (value) => `${octets(value)}/s`);
  const frame = card("Traffic", "Octets of Ethernet frames, per second.", figures.element, plot.element);
  const count = { down: 0, up: 0, frames: 0 };
  context.onframe(({ length }, sent) => {
    count[sent ? "up" : "down"] += length;
    count.frames += 1;
  });
  const began = performance.now();
  let last = { at: began, ...count };
  setInterval(() => {
    const at = performance.now();
    const seconds = (at - last.at) / 1000;
    const [down, up] = [(count.down - last.down) / seconds, (count.up - last.up) / seconds];
    last = { at, ...count };
    plot.push((at - began) / 1000, down, up);
    figures.show({ down: `${octets(down)}/s`, up: `${octets(up)}/s`, frames: `${count.frames}` });
  }, INTERVAL);
  return { element: frame.element };
}
