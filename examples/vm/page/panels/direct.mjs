// The page itself as a host on the segment, beside the guest: the two talk without the gateway.
import { http } from "webtun/http";
import { field, h } from "demo/dom.mjs";
import { milliseconds } from "demo/format.mjs";
import { card, row } from "demo/panel.mjs";

const SHOWN = 4096;

export function direct(context) {
  const path = field("Path at the guest's web server", { value: "/cgi-bin/status", required: true });
  const button = h("button.primary", { type: "button" }, "Fetch");
  const answer = h("div.log", { role: "log", tabIndex: 0 });
  const hint = "The page has an address of its own on this Ethernet, and speaks with the guest directly: the gateway hears nothing of it.";
  const frame = card("From page to guest", hint, row(button, path.wrapped), answer);

  let page;
  /** One stack for all fetches. */
  const joined = async (net) => {
    page ??= net.join({ http });
    return page.catch((error) => {
      page = undefined;
      throw error;
    });
  };
  const get = async () => {
    const net = await context.net;
    const [guest] = net.guests();
    if (guest?.address === undefined) throw new Error("the guest has no address yet");
    frame.says("Fetching.");
    const network = await joined(net);
    const began = performance.now();
    const response = await network.fetch(`http://${guest.address}${path.input.value}`, { signal: AbortSignal.timeout(20_000) });
    const text = await response.text();
    answer.textContent = text.slice(0, SHOWN);
    const [own] = network.status.addresses;
    frame.says(`HTTP ${response.status} from ${guest.address} to ${own} in ${milliseconds(performance.now() - began)}.`, response.ok ? "good" : "bad");
  };
  button.addEventListener("click", () => {
    button.disabled = true;
    get()
      .catch(frame.fails)
      .finally(() => (button.disabled = false));
  });
  return { element: frame.element };
}
