import { within } from "../client/context.mjs";

export const about = "a program with emcc's own sockets, built without us, at the door /tcp/, and what a refusal says there";
export const egress = true;
export const where = ["chromium"];
export const programs = true;

export default async function (t) {
  const line = await within(firstLine(`${t.url()}/tcp/echo.playground.test/7`), "the program");
  t.equal(line, "echoed 200000 octets, 0 wrong", "what the program prints");
  t.equal(await end(`${t.url()}/tcp/echo.playground.test/1`), "4502 the destination refuses the connection", "refused");
  t.equal(await end(`${t.url()}/tcp/10.9.8.7/80`), "4403 the gateway's policy does not allow this destination", "denied");
  t.equal(await end(`${t.url()}/tcp/nobody.playground.test/80`), "4404 the name has no address", "no such name");
  return line;
}

/** Of the program, all of whose connections go to one place. */
function firstLine(url) {
  return new Promise((resolve) => {
    globalThis.Module = { websocket: { url, subprotocol: "binary" }, print: resolve };
    const script = document.createElement("script");
    script.src = "/programs/sockfs.js";
    document.head.append(script);
  });
}

async function end(url) {
  const socket = new WebSocket(url, "binary");
  const { code, reason } = await within(new Promise((resolve) => (socket.onclose = resolve)), url);
  return `${code} ${reason}`;
}
