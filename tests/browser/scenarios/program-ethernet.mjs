import { within } from "../client/context.mjs";

export const about = "an emcc program's frames, as QEMU's in a page: at the door /qemu/, and by a WebSocket without a server";
export const where = ["chromium"];
export const programs = ["ethernet"];

const ANSWERS = "200 answers";

export default async function (t) {
  t.equal(await within(firstLine(`${t.url()}/qemu/program?profile=container2wasm`), "the door"), ANSWERS, "at the door");

  const { openEthernet, relayWebSocket } = await import("/webtun/ethernet.js");
  const net = await openEthernet(t.url(), { profile: "container2wasm" });
  try {
    const socket = relayWebSocket(net, { framing: "length" });
    t.equal(await within(firstLine("ws://nowhere.invalid/", socket), "the adapter"), ANSWERS, "by the adapter");
  } finally {
    net.close();
  }
  return ANSWERS;
}

/** What the program prints, in a frame of its own, whose WebSockets may be others. */
async function firstLine(url, socket) {
  const frame = document.createElement("iframe");
  document.body.append(frame);
  const page = frame.contentWindow;
  if (socket) page.WebSocket = socket;
  const line = new Promise((print) => {
    page.Module = { websocket: { url, subprotocol: "binary" }, print, locateFile: (name) => `/programs/${name}` };
  });
  const script = frame.contentDocument.createElement("script");
  script.src = "/programs/ethernet.js";
  frame.contentDocument.body.append(script);
  try {
    return await line;
  } finally {
    frame.remove();
  }
}
