// The page: an Ethernet with a way out, a machine that is plugged into it, and panels that show what goes on.
// `?gateway=wss://...` names the gateway, which otherwise is where the page comes from; `?mtu=65000` makes larger packets.
import { openEthernet } from "webtun/ethernet";
import { explain } from "demo/explain.mjs";
import { capture } from "./panels/capture.mjs";
import { direct } from "./panels/direct.mjs";
import { machine } from "./panels/machine.mjs";
import { network } from "./panels/network.mjs";
import { server } from "./panels/server.mjs";
import { traffic } from "./panels/traffic.mjs";

const parameters = new URLSearchParams(location.search);
const token = parameters.get("token") ?? undefined;
// A token does not belong into the history, nor into a link that is copied.
if (token) history.replaceState(null, "", location.pathname);

const pill = document.getElementById("state");

/** What the pill says, for people and for tests; what has failed stays failed. */
function state(name) {
  if (pill.dataset.state === "failed") return;
  pill.dataset.state = name;
  pill.textContent = name;
}

const settings = { token, mtu: Number(parameters.get("mtu") ?? 1500) };
// Beside the demo, in a folder of its own, the page has the gateway above it.
const gateway = parameters.get("gateway") ?? new URL("/", location.href);
const net = openEthernet(gateway, settings);
const listeners = [];
const context = {
  net,
  mtu: settings.mtu,
  state,
  /** Called with each frame of the guest's card, and whether the guest has sent it. A frame must not be kept. */
  onframe: (listener) => listeners.push(listener),
  heard: (frame, sent) => listeners.forEach((listener) => listener(frame, sent)),
};
const panels = [machine, network, traffic, capture, server, direct].map((make) => make(context));
document.getElementById("panels").append(...panels.map(({ element }) => element));

net.then(
  // For the curious: `net` in the console.
  (ethernet) => (globalThis.net = ethernet),
  (error) => {
    state("failed");
    pill.title = explain(error).what;
  },
);
