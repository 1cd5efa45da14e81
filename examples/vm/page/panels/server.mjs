// A server in the guest, reached from outside.
import { field, h } from "demo/dom.mjs";
import { endpoint } from "demo/format.mjs";
import { card, row } from "demo/panel.mjs";

export function server(context) {
  const port = field("Port in the guest", { type: "number", min: 1, max: 65535, value: 80, required: true }, "modest");
  const external = field("External port", { type: "number", min: 0, max: 65535, placeholder: "any" }, "modest");
  const button = h("button.primary", { type: "button" }, "Map");
  const at = h("p", "No port is mapped.");
  const controls = row(button, port.wrapped, external.wrapped);
  const hint = "The guest's web server listens at port 80. A mapped port of the gateway makes it reachable from outside.";
  const frame = card("Server in the guest", hint, controls, at);

  let mapped;
  const map = async () => {
    const net = await context.net;
    frame.says("Asking the gateway for a port.");
    mapped = await net.mapPort(port.input.valueAsNumber, { externalPort: external.input.valueAsNumber || 0 });
    const { address, port: number } = mapped.external;
    const url = `http://${endpoint(address, number)}/`;
    at.replaceChildren("Reachable at ", h("a", { href: url, target: "_blank", rel: "noopener" }, url), ", from where the gateway is.");
    frame.says("The port is mapped.", "good");
    button.textContent = "Give back";
  };
  const giveBack = () => {
    mapped.close();
    mapped = undefined;
    at.textContent = "No port is mapped.";
    frame.says("The port is given back.");
    button.textContent = "Map";
  };
  button.addEventListener("click", () => {
    if (mapped) return giveBack();
    button.disabled = true;
    map()
      .catch(frame.fails)
      .finally(() => (button.disabled = false));
  });
  return { element: frame.element };
}
