import { within } from "../client/context.mjs";

export const about = "a program with emcc's own sockets, built without us, and the WebSocket that it takes for one";
export const egress = true;
export const where = ["chromium"];
export const programs = true;

const octets = (text) => new TextEncoder().encode(text);
const event = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));

export default async function (t) {
  const { installWebSocket, webSocketClass } = await t.load("websocket");
  // In this thread, so that its own WebSocket and the program's are of the same global object.
  const net = await t.open({ worker: false });
  await shape(t, webSocketClass(net));
  const uninstall = installWebSocket(net);
  const lines = await within(run(), "the program");
  t.equal(lines.join("; "), "echoed 200000 octets, 0 wrong; the other one failed", "what the program prints");
  await t.host("cut");
  t.equal(await reconnects(net), "connected", "the tunnel after a cut");
  uninstall();
  t.check(WebSocket !== webSocketClass(net) && WebSocket.name === "WebSocket", "the platform's class is not back");
  return lines[0];
}

function run() {
  const lines = [];
  return new Promise((resolve) => {
    globalThis.Module = {
      print: (line) => lines.push(line) === 2 && resolve(lines),
      printErr: (line) => lines.push(line),
    };
    const script = document.createElement("script");
    script.src = "/programs/sockfs.js";
    document.head.append(script);
  });
}

async function reconnects(net) {
  if (net.status.state !== "connected") await within(event(net.status, "connected"), "the reconnect");
  await net.ping("echo.playground.test");
  return net.status.state;
}

/** What SOCKFS does not use, but others may. */
async function shape(t, Tunnelled) {
  const socket = new Tunnelled("ws://echo.playground.test:7/path", ["binary"]);
  t.equal(`${socket.readyState} ${socket.url} ${socket.protocol}`, "0 ws://echo.playground.test:7/path binary", "a new one");
  let thrown;
  try {
    socket.send("early");
  } catch (error) {
    thrown = error.name;
  }
  t.equal(thrown, "InvalidStateError", "send() before it is open");
  socket.binaryType = "arraybuffer";
  await within(new Promise((resolve) => (socket.onopen = resolve)), "open");
  const received = [];
  socket.onmessage = ({ data }) => received.push(...new Uint8Array(data));
  socket.send("text ");
  socket.send(octets("octets "));
  socket.send(new Blob(["blob"]));
  while (received.length < 16) await within(event(socket, "message"), "the echo");
  t.equal(new TextDecoder().decode(new Uint8Array(received)), "text octets blob", "the echo");
  t.equal(socket.bufferedAmount, 0, "octets that wait");
  const closed = event(socket, "close");
  socket.close();
  t.equal(socket.readyState, Tunnelled.CLOSING, "after close()");
  const { code, wasClean } = await within(closed, "close");
  t.equal(`${code} ${wasClean} ${socket.readyState}`, "1000 true 3", "the end");

  const v6 = new Tunnelled("ws://2001:2::2:7/");
  await within(event(v6, "open"), "an IPv6 address without brackets");
  v6.close();
  const refused = new Tunnelled("ws://echo.playground.test:1/");
  const [error, end] = await within(Promise.all([event(refused, "error"), event(refused, "close")]), "a refusal");
  t.equal(`${error.code} ${end.code} ${end.wasClean}`, "ECONNREFUSED 1006 false", "a port where nobody listens");
  const remote = new Tunnelled("ws://echo.playground.test:3/");
  t.equal((await within(event(remote, "close"), "the other side's end")).code, 1000, "the other side's end");
}
