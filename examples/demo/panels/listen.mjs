// A TCP server in this tab, at an external port.
import { field, h, logBox } from "../lib/dom.mjs";
import { endpoint } from "../lib/format.mjs";
import { getText } from "../lib/http.mjs";
import { card, row, starter } from "../lib/panel.mjs";

const OUTSIDE = "host.playground.test";
const KNOCKER = "www.playground.test";

export function listen(context) {
  const port = field("External port", { type: "number", min: 0, max: 65535, placeholder: "any" }, "modest");
  const knock = h("button", { type: "button", disabled: true }, "Have the playground connect");
  const at = h("p", "Not listening.");
  const log = logBox();
  const frame = card("Listener", "A TCP server in this tab. Lines that arrive are shown, and answered.");
  const run = starter(frame, { start: "Listen", stop: "Stop" }, (signal) => serve(signal));
  const controls = row(run.button, port.wrapped);
  controls.append(knock);
  frame.element.lastChild.before(controls, at, log.element);

  let open;
  const serve = async (signal) => {
    const net = await context.net;
    frame.says("Asking the gateway for a port.");
    const server = new net.TCPServerSocket("0.0.0.0", { external: { port: Number(port.input.value) || 0 } });
    const { readable, externalAddress, externalPort } = await server.opened;
    server.closed.catch(() => {});
    open = { net, port: externalPort, family: externalAddress.includes(":") ? "ipv6" : "ipv4" };
    show(externalAddress, externalPort);
    const reader = readable.getReader();
    signal.addEventListener("abort", () => reader.cancel().catch(() => {}));
    try {
      for (;;) {
        const { value: socket, done } = await reader.read();
        if (done) break;
        talk(socket).catch((error) => log.write(`a connection failed: ${error.message}`, "bad"));
      }
      signal.throwIfAborted();
    } finally {
      open = undefined;
      knock.disabled = true;
      at.replaceChildren("Not listening.");
    }
  };

  const show = (address, externalPort) => {
    knock.disabled = false;
    const command = `nc ${address} ${externalPort}`;
    at.replaceChildren("Connect to ", h("code", endpoint(address, externalPort)), ", for example by ", h("code", command), `; in the playground, at ${OUTSIDE}.`);
    frame.says("Listening.", "good");
  };

  const talk = async (socket) => {
    const { readable, writable, remoteAddress, remotePort } = await socket.opened;
    socket.closed.catch(() => {});
    const who = endpoint(remoteAddress, remotePort);
    log.write(`${who} has connected`, "note");
    const writer = writable.getWriter();
    const decoder = new TextDecoder();
    for await (const chunk of readable) {
      log.write(`${who}: ${decoder.decode(chunk, { stream: true }).trimEnd()}`);
      await writer.write(new TextEncoder().encode("who is there? a browser tab\n"));
    }
    await writer.close();
    log.write(`${who} has gone`, "note");
  };

  /** The playground connects to where our request came from, so the request has to go by the port's own family. */
  const knockHere = async () => {
    const { net, port: externalPort, family } = open;
    const [address] = await net.resolve(KNOCKER, { family });
    return getText(net, `http://${endpoint(address, 80)}/knock?port=${externalPort}`);
  };
  knock.addEventListener("click", () => {
    knockHere().then((answer) => log.write(`the playground got: ${answer}`, "sent"), frame.fails);
  });

  const check = async () => {
    const ended = run.start();
    while (!open) await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 20))]);
    const { port: externalPort } = open;
    const answer = await knockHere();
    if (!answer.includes("a browser tab")) throw new Error(`the playground got “${answer}”`);
    log.write(`the playground got: ${answer}`, "sent");
    return `reached at port ${externalPort} from outside, and answered`;
  };
  return { name: "listen", element: frame.element, check };
}
