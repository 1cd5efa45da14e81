// A console on a TCP connection.
import { field, h, logBox } from "../lib/dom.mjs";
import { endpoint } from "../lib/format.mjs";
import { card, row, starter } from "../lib/panel.mjs";

export function echo(context) {
  const host = field("Host", { value: "echo.playground.test", list: "hosts", required: true });
  const port = field("Port", { type: "number", value: 7, min: 1, max: 65535, required: true }, "narrow");
  const line = field("Line to send", { placeholder: "hello", disabled: true });
  const send = h("button", { type: "submit", disabled: true }, "Send");
  const finish = h("button", { type: "button", disabled: true, title: "Sends FIN: the other side may still answer" }, "Finish sending");
  const log = logBox();
  const frame = card("TCP console", "Type lines to any TCP server. This one sends them back.");
  const run = starter(frame, { start: "Connect", stop: "Disconnect" }, (signal) => converse(signal));
  const talk = row(send, line.wrapped);
  talk.append(finish);
  frame.element.lastChild.before(row(run.button, host.wrapped, port.wrapped), talk, log.element);

  let writer;
  const enable = (on) => [line.input, send, finish].forEach((control) => (control.disabled = !on));
  const write = async (text) => {
    log.write(`> ${text}`, "sent");
    await writer.write(new TextEncoder().encode(`${text}\n`));
  };
  talk.addEventListener("submit", () => {
    if (!writer || line.input.value === "") return;
    write(line.input.value).catch(frame.fails);
    line.input.value = "";
  });
  finish.addEventListener("click", () => {
    log.write("we have finished sending", "note");
    enable(false);
    writer?.close().catch(frame.fails);
  });

  const converse = async (signal) => {
    const net = await context.net;
    frame.says("Connecting.");
    log.clear();
    const socket = new net.TCPSocket(host.input.value, Number(port.input.value), { noDelay: true });
    const opened = await socket.opened;
    socket.closed.catch(() => {});
    const from = endpoint(opened.localAddress, opened.localPort);
    frame.says(`Connected to ${endpoint(opened.remoteAddress, opened.remotePort)} from ${from}.`, "good");
    writer = opened.writable.getWriter();
    writer.closed.catch(() => {});
    enable(true);
    const reader = opened.readable.getReader();
    signal.addEventListener("abort", () => reader.cancel().catch(() => {}));
    try {
      await showLines(reader);
      signal.throwIfAborted();
      log.write("the other side has finished", "note");
      frame.says("The connection has ended.");
    } finally {
      enable(false);
      // Already closed, or broken together with the reader, whose error is the one that is told.
      writer.close().catch(() => {});
      writer = undefined;
    }
  };

  const showLines = async (reader) => {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (done ? decoder.decode() : decoder.decode(value, { stream: true }))).split("\n");
      rest = done ? "" : lines.pop();
      for (const one of lines) if (one || !done) log.write(one);
      if (done) return;
    }
  };

  const check = async () => {
    const ended = run.start();
    while (!writer) await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 20))]);
    const began = performance.now();
    const text = `hello at ${Math.round(began)}`;
    await write(text);
    while (!log.element.textContent.includes(`${text}${text}`)) {
      if (performance.now() - began > 5000) throw new Error("the line did not come back within 5 s");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const took = performance.now() - began;
    finish.click();
    await ended;
    return `a line came back after ${took.toFixed(0)} ms, and the connection ended after our FIN`;
  };
  return { name: "echo", element: frame.element, check };
}
