// A DNS question by UDP, once more by TCP where the answer was cut, and the same by the tunnel's own resolver.
import { choice, field, logBox } from "../lib/dom.mjs";
import { question, parse, TYPES } from "../lib/dns.mjs";
import { explainShortly } from "../lib/explain.mjs";
import { endpoint, milliseconds } from "../lib/format.mjs";
import { card, row, starter } from "../lib/panel.mjs";

const PATIENCE = 3000;
const PORT = 53;

export function lookup(context) {
  const name = field("Name", { value: "www.playground.test", list: "names", required: true });
  const type = choice("Type", Object.keys(TYPES));
  const server = field("Name server", { placeholder: "the gateway's" }, "modest");
  const log = logBox();
  const frame = card("Name lookup", "A DNS question in a UDP datagram that this page makes itself. A cut answer is fetched again by TCP.");
  const run = starter(frame, { start: "Look up", stop: "Stop" }, (signal) => ask(signal));
  frame.element.lastChild.before(row(run.button, name.wrapped, type.wrapped, server.wrapped), log.element);

  const ask = async (signal) => {
    const net = await context.net;
    const at = server.input.value || net.status.lease?.dns[0];
    if (!at) throw new Error("the gateway named no name server; type one");
    log.clear();
    frame.says(`Asking ${at}.`);
    const began = performance.now();
    const id = crypto.getRandomValues(new Uint16Array(1))[0];
    const message = question(id, name.input.value.trim(), type.input.value);
    let answer = parse(await byUdp(net, at, message, signal));
    let path = "UDP";
    if (answer.truncated) {
      log.write(`The answer by UDP was cut: it did not fit. Asking again by TCP.`, "note");
      answer = parse(await byTcp(net, at, message, signal));
      path = "UDP, then TCP";
    }
    const took = performance.now() - began;
    for (const record of answer.records) log.write(`${record.name}  ${record.ttl} s  ${record.type}  ${record.value}`);
    if (answer.records.length === 0) log.write(answer.code === 0 ? "The name exists, but has no record of this type." : "No records.", "note");
    await showResolved(net);
    const count = answer.records.length;
    const outcome = answer.code === 0 ? `${count} record${count === 1 ? "" : "s"}` : answer.says;
    frame.says(`${endpoint(at, PORT)} answered after ${milliseconds(took)} (${path}): ${outcome}.`, answer.code === 0 ? "good" : "bad");
    return answer;
  };

  /** What a program gets that does not ask by itself. */
  const showResolved = async (net) => {
    try {
      log.write(`net.resolve: ${(await net.resolve(name.input.value.trim())).join(", ")}`, "sent");
    } catch (error) {
      log.write(`net.resolve: ${explainShortly(error)}`, "bad");
    }
  };

  const check = async () => {
    const cases = [["www.playground.test", "A"], ["www.playground.test", "AAAA"], ["alias.playground.test", "A"], ["nobody.playground.test", "A"], ["big.playground.test", "A"]];
    const answers = [];
    for (const [host, kind] of cases) {
      name.input.value = host;
      type.input.value = kind;
      answers.push(await run.start());
    }
    const [v4, , alias, nobody, big] = answers;
    const found = v4.records.map((record) => record.value);
    if (found.length === 0) throw new Error("www.playground.test has no address");
    const resolved = await (await context.net).resolve("www.playground.test");
    if (!found.every((address) => resolved.includes(address))) throw new Error(`net.resolve says ${resolved}, the server ${found}`);
    if (!alias.records.some((record) => record.type === "CNAME")) throw new Error("the alias has no CNAME record");
    if (nobody.code !== 3) throw new Error(`a name that does not exist: ${nobody.says}`);
    if (big.records.length !== 100) throw new Error(`the long answer has ${big.records.length} records and not 100`);
    name.input.value = "www.playground.test";
    await run.start();
    return `${resolved.join(" and ")}; alias, missing name and an answer of 100 records by TCP`;
  };
  return { name: "lookup", element: frame.element, check };
}

/** Rejects when the signal is aborted, or nothing came in time. */
function patience(signal, what) {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} did not answer within ${PATIENCE / 1000} s`)), PATIENCE);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
  });
}

async function byUdp(net, remoteAddress, message, signal) {
  const socket = new net.UDPSocket({ remoteAddress, remotePort: PORT });
  const { readable, writable } = await socket.opened;
  const [reader, writer] = [readable.getReader(), writable.getWriter()];
  try {
    await writer.write({ data: message });
    const { value } = await Promise.race([reader.read(), patience(signal, remoteAddress)]);
    if (!value) throw new Error("the socket was closed");
    return value.data;
  } finally {
    Promise.allSettled([reader.cancel(), writer.close()]);
  }
}

/** RFC 1035 section 4.2.2: over TCP each message has its length before it. */
async function byTcp(net, remoteAddress, message, signal) {
  const socket = new net.TCPSocket(remoteAddress, PORT);
  const { readable, writable } = await socket.opened;
  socket.closed.catch(() => {});
  const [reader, writer] = [readable.getReader(), writable.getWriter()];
  try {
    await writer.write(new Uint8Array([message.length >> 8, message.length & 255, ...message]));
    return await Promise.race([readMessage(reader), patience(signal, remoteAddress)]);
  } finally {
    Promise.allSettled([reader.cancel(), writer.close()]);
  }
}

async function readMessage(reader) {
  let whole = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the server ended the connection in the middle of its answer");
    const joined = new Uint8Array(whole.length + value.length);
    joined.set(whole);
    joined.set(value, whole.length);
    whole = joined;
    if (whole.length >= 2 && whole.length >= 2 + ((whole[0] << 8) | whole[1])) return whole.slice(2, 2 + ((whole[0] << 8) | whole[1]));
  }
}
