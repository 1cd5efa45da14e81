// The machine's console.
import { Terminal } from "@xterm/xterm";
import { attach } from "webtun/v86";
import { h } from "demo/dom.mjs";
import { card } from "demo/panel.mjs";
import { makeMachine } from "../lib/boot.mjs";
import { tapped } from "../lib/tap.mjs";

const ROWS = 24;
const CELL_WIDTH = 8.5;
const READY = "guest: ready ";
const EXAMPLES = [
  "ping -c 3 www.playground.test",
  "wget -O - 'http://www.playground.test/blob?size=8388608' | sha256sum",
  `pkg install jq && echo '{"tab": [1, 2]}' | jq .tab`,
  "pkg list",
  "iperf3 -t 3 -c iperf.playground.test",
  "ip address; ip route; ip -6 route",
];

export function machine(context) {
  const screen = h("div", { id: "screen" });
  const examples = h("div.examples", { role: "group", "aria-label": "Commands to try" });
  const hint = "Shift+Tab leaves the terminal. These commands are typed for you:";
  const frame = card("Console", "Click, or tab, into it and type.", screen, h("p.hint", hint), examples);
  frame.element.classList.add("wide");
  start(context, frame, screen, examples).catch((error) => {
    context.state("failed");
    frame.fails(error);
  });
  return { element: frame.element };
}

async function start(context, frame, screen, examples) {
  frame.says("Loading the machine.");
  const net = await context.net;
  await laidOut(screen);
  const cols = Math.min(Math.max(Math.floor((screen.clientWidth - 32) / CELL_WIDTH), 40), 132);
  const terminal = new Terminal({ rows: ROWS, cols, fontSize: 14, cursorBlink: true, scrollback: 5000 });
  terminal.open(screen);
  // Otherwise nobody without a mouse would get out of it.
  terminal.attachCustomKeyEventHandler(({ key, shiftKey }) => !(key === "Tab" && shiftKey));

  const emulator = await makeMachine({ rows: ROWS, cols }, context.mtu);
  attach(emulator, tapped(net, context.heard));
  const ready = showOutput(emulator, terminal);
  const type = (text) => emulator.serial_send_bytes(0, new TextEncoder().encode(text));
  terminal.onData(type);
  for (const command of EXAMPLES) {
    const button = h("button", { type: "button", disabled: true }, command);
    button.addEventListener("click", () => {
      type(`${command}\n`);
      terminal.focus();
    });
    examples.append(button);
  }
  context.state("booting");
  frame.says("The machine boots, which takes half a minute or so: its code is compiled as it runs.");
  globalThis.machine = emulator;
  emulator.run();
  await ready;
  for (const button of examples.children) button.disabled = false;
  frame.says("The machine runs.", "good");
  context.booted();
}

/** Shows what the machine says; resolves when its start is done. */
function showOutput(emulator, terminal) {
  let octets = [];
  let seen = "";
  return new Promise((resolve) => {
    // By the turn: a terminal draws a line faster than its characters.
    const flush = () => {
      terminal.write(Uint8Array.from(octets));
      if (seen !== undefined) seen = (seen + String.fromCharCode(...octets)).slice(-4096);
      octets = [];
      if (!seen?.includes(READY)) return;
      seen = undefined;
      resolve();
    };
    emulator.add_listener("serial0-output-byte", (octet) => {
      if (octets.push(octet) === 1) setTimeout(flush);
    });
  });
}

/** The panels are put into the page after they are made. */
async function laidOut(element) {
  while (element.clientWidth === 0) await new Promise((resolve) => setTimeout(resolve, 20));
}
