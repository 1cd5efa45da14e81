// What the guest has: its lease on the segment, and its tunnel.
import { facts } from "demo/dom.mjs";
import { endpoint } from "demo/format.mjs";
import { card } from "demo/panel.mjs";

const TERMS = {
  mac: "Network card",
  address: "Address by DHCP",
  inner: "Addresses of its tunnel",
  outside: "Seen from outside as",
  dropped: "Frames dropped",
};
/** After so long without a tunnel somebody wants to know why. */
const PATIENCE = 10_000;

export function network(context) {
  const shown = facts(TERMS);
  shown.element.classList.add("roomy");
  const frame = card("Network", "The router of this page gives out addresses; the tunnel belongs to the guest alone.", shown.element);
  frame.says("The guest has not said a word yet.");
  const has = { booted: false, lease: false, tunnel: false };
  const settle = () => {
    if (has.booted && has.lease && has.tunnel) context.state("online");
  };
  context.booted = () => {
    has.booted = true;
    settle();
  };
  context.net.then((net) => watch(net, { frame, shown, has, settle, context }), frame.fails);
  return { element: frame.element };
}

function watch(net, { frame, shown, has, settle, context }) {
  let waiting;
  context.onframe((_, sent) => {
    if (!sent || waiting !== undefined || has.tunnel) return;
    frame.says("The guest has sent its first frame: its tunnel is being opened.");
    const impatient = () =>
      frame.says("The gateway has not answered yet, and is tried again and again. Is it running, and does it allow this page?", "bad");
    waiting = setTimeout(impatient, PATIENCE);
  });
  net.addEventListener("lease", ({ detail: { mac, address } }) => {
    has.lease = true;
    shown.show({ mac, address });
    settle();
  });
  net.addEventListener("connected", ({ detail: { mac, tunnel } }) => {
    // The page has a tunnel as well, as soon as it joins.
    if (!net.guests().some((guest) => guest.mac === mac)) return;
    clearTimeout(waiting);
    has.tunnel = true;
    const ports = ({ address, firstPort, count }) => `${endpoint(address, firstPort)}–${firstPort + count - 1}`;
    shown.show({
      mac,
      inner: tunnel.addresses.join(", "),
      outside: tunnel.external.map(ports).join(", ") || "–",
    });
    frame.says("The guest is online.", "good");
    settle();
  });
  net.addEventListener("closed", ({ detail: { error } }) => {
    clearTimeout(waiting);
    context.state("failed");
    frame.fails(error);
  });
  setInterval(() => shown.show({ dropped: `${net.dropped}` }), 1000);
}
