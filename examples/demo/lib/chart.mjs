// A line chart over time, by uPlot, in the colours of the page.
import uPlot from "uplot";
import { h } from "./dom.mjs";

const HEIGHT = 150;
/** Points that are kept; the oldest go first. */
const KEPT = 600;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(values, size) {
  const grid = { stroke: () => colour("--line"), width: 1 };
  return { stroke: () => colour("--faint"), grid, ticks: { show: false }, font: "11px system-ui", size, values };
}

/**
 * `series`: `{ label, colour }` each, the colour being the name of a CSS variable; `format` writes values of the y axis.
 * `push(seconds, ...values)` adds a point, null where a series has none.
 */
export function chart(series, format) {
  const host = h("div.chart");
  const legend = h("div.legend", ...series.map((one) => h("span", { style: `--swatch: var(${one.colour})` }, one.label)));
  const element = h("div", host, legend);
  let data = [[], ...series.map(() => [])];
  const options = {
    width: 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: (_, least, most) => [0, Math.max(most * 1.15, 1e-3)] } },
    axes: [
      axis((_, ticks) => ticks.map((tick) => `${+tick.toFixed(2)} s`), 24),
      axis((_, ticks) => ticks.map((tick) => (tick === null ? "" : tick === 0 ? "0" : format(tick))), 78),
    ],
    series: [{}, ...series.map((one) => line(one))],
  };
  const plot = new uPlot(options, data, host);
  new ResizeObserver(() => plot.setSize({ width: Math.max(host.clientWidth, 100), height: HEIGHT })).observe(host);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
  const push = (seconds, ...values) => {
    data[0].push(seconds);
    values.forEach((value, index) => data[index + 1].push(value));
    if (data[0].length > KEPT) data.forEach((column) => column.shift());
    plot.setData(data);
  };
  const clear = () => {
    data = data.map(() => []);
    plot.setData(data);
  };
  return { element, push, clear };
}

function line({ label, colour: name }) {
  return { label, stroke: () => colour(name), fill: () => `${colour(name)}22`, width: 2, spanGaps: false, points: { show: false } };
}
