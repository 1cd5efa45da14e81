// The state of the tunnel: addresses, round-trip time, rates.
import { chart } from "../lib/chart.mjs";
import { facts, h } from "../lib/dom.mjs";
import { endpoint, milliseconds, octets, rate } from "../lib/format.mjs";
import { card } from "../lib/panel.mjs";

const FIGURES = { rtt: "Round trip to the gateway", down: "Receiving", up: "Sending" };
const TERMS = {
  addresses: "Addresses of this tab",
  outside: "Seen from outside as",
  dns: "Name servers",
  mtu: "Largest packet",
  total: "Received and sent so far",
};
const WORDS = {
  connecting: "Connecting to the gateway.",
  connected: "The tunnel works.",
  reconnecting: "The connection to the gateway is gone. Sockets wait, and nothing is lost, until it is back.",
  closed: "The tunnel is closed.",
};

export function tunnel(context) {
  const pill = document.getElementById("state");
  const figures = facts(FIGURES, Object.keys(FIGURES));
  const shown = facts(TERMS);
  shown.element.classList.add("roomy");
  const plot = chart([{ label: "receiving", colour: "--accent" }, { label: "sending", colour: "--second" }], rate);
  const frame = card("Tunnel", "One WebSocket carries everything below.", figures.element, plot.element, shown.element);
  frame.element.classList.add("wide");
  const began = performance.now();
  let status;

  const showState = (state) => {
    pill.dataset.state = state;
    pill.textContent = state;
    frame.says(WORDS[state], state === "connected" ? "good" : state === "closed" ? "bad" : "");
  };
  const showReconnecting = () => {
    showState("reconnecting");
    frame.says(`${WORDS.reconnecting} Attempt ${status.attempt} in ${milliseconds(status.retryIn)}.`);
  };
  const showClosed = (error) => {
    showState("closed");
    frame.fails(error ?? new Error(WORDS.closed));
    const again = h("button", { type: "button", onclick: () => location.reload() }, "Open a new one");
    frame.element.append(again);
  };
  const showLease = () => {
    const { addresses = [], dns = [], external = [], mtu = 0 } = status.lease ?? {};
    const ports = ({ address, firstPort, count }) => `${endpoint(address, firstPort)}–${firstPort + count - 1}`;
    shown.show({
      addresses: addresses.join(", ") || "–",
      outside: external.map(ports).join(", ") || "–",
      dns: dns.join(", ") || "–",
      mtu: mtu ? `${mtu.toLocaleString("en")} octets` : "–",
    });
  };
  const showCounters = () => {
    const { rates, rtt, counters } = status;
    figures.show({ rtt: rtt === undefined ? "–" : milliseconds(rtt), down: rate(rates.received), up: rate(rates.sent) });
    shown.show({ total: `${octets(counters.octetsReceived)}, ${octets(counters.octetsSent)}` });
    plot.push((performance.now() - began) / 1000, rates.received, rates.sent);
  };

  context.net.then(
    (net) => {
      status = net.status;
      status.addEventListener("connected", () => (showState("connected"), showLease()));
      status.addEventListener("reconnecting", showReconnecting);
      status.addEventListener("closed", () => showClosed(status.error));
      status.addEventListener("update", showCounters);
      showState(status.state);
      showLease();
      showCounters();
    },
    (error) => showClosed(error),
  );

  const check = async () => {
    const net = await context.net;
    if (net.status.state !== "connected") throw new Error(`the tunnel is ${net.status.state}`);
    if (net.status.addresses.length === 0) throw new Error("the tab has no address");
    return `${net.status.addresses.join(" and ")}, seen as ${net.status.lease.external.map((at) => at.address).join(" and ")}`;
  };
  return { name: "tunnel", element: frame.element, check };
}
