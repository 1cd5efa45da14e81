// An HTTP download over a raw TCPSocket, hashed while it comes.
import { sha256 } from "sha2";
import { field, h } from "../lib/dom.mjs";
import { milliseconds, octets, rate } from "../lib/format.mjs";
import { get, getText } from "../lib/http.mjs";
import { card, row, starter } from "../lib/panel.mjs";

/** How often the page is painted, in milliseconds. */
const PAINT = 100;
const CHECKED = "http://www.playground.test/blob?size=16777216";

export function download(context) {
  const address = field("Address", { type: "url", value: "http://www.playground.test/blob?size=33554432", list: "urls", required: true }, "broad");
  const urls = ["http://www.playground.test/", "http://www.playground.test/blob?size=268435456", "http://www.playground.test/close?size=1048576"];
  const list = h("datalist", { id: "urls" }, ...urls.map((value) => h("option", { value })));
  const bar = h("progress", { max: 1, value: 0, "aria-label": "progress" });
  const frame = card("Download", "HTTP, spoken by this page over a raw TCP socket. SHA-256 is computed on the way.");
  const run = starter(frame, { start: "Download", stop: "Stop" }, (signal) => fetchAndHash(address.input.value, signal));
  frame.element.lastChild.before(row(run.button, address.wrapped), list, bar);

  const fetchAndHash = async (url, signal) => {
    frame.says("Connecting.");
    bar.value = 0;
    const net = await context.net;
    const began = performance.now();
    const answer = await get(net, url, signal);
    const { size, hash } = await readAll(answer, began, signal);
    const took = performance.now() - began;
    const summary = `${octets(size)} in ${milliseconds(took)}, ${rate((1000 * size) / took)}`;
    if (answer.status !== 200) throw new Error(`the server answered ${answer.status} ${answer.reason}${moved(answer)}`);
    const verdict = await compare(net, url, hash, signal);
    frame.says(`${summary}. ${verdict}`, "good");
    frame.element.lastChild.append(h("small.mono", `SHA-256 ${hash}`));
    return `${summary}; ${verdict}`;
  };

  const readAll = async ({ body, length }, began, signal) => {
    const hash = sha256.create();
    let size = 0;
    let painted = 0;
    if (length === undefined) bar.removeAttribute("value");
    for await (const chunk of body) {
      hash.update(chunk);
      size += chunk.length;
      const now = performance.now();
      if (now - painted < PAINT) continue;
      painted = now;
      if (length) bar.value = size / length;
      frame.says(`${octets(size)}${length ? ` of ${octets(length)}` : ""}, ${rate((1000 * size) / (now - began))}`);
    }
    signal?.throwIfAborted();
    bar.value = 1;
    return { size, hash: hex(hash.digest()) };
  };

  const check = async () => {
    address.input.value = CHECKED;
    const detail = await run.start();
    if (!detail.includes("agree")) throw new Error(detail);
    return detail;
  };
  return { name: "download", element: frame.element, check };
}

function moved({ headers }) {
  return headers.has("location") ? `: it has moved to ${headers.get("location")}` : "";
}

/** The playground tells the hash of what it sends; other servers do not. */
async function compare(net, url, hash, signal) {
  const { origin, pathname, search, hostname } = new URL(url);
  if (!hostname.endsWith("playground.test") || !/^\/(blob|close)$/.test(pathname)) return "Complete.";
  const expected = await getText(net, `${origin}/sha256${search}`, signal);
  if (expected !== hash) throw new Error(`the octets are wrong: their SHA-256 is ${hash}, the server's is ${expected}`);
  return "Our hash and the server's agree.";
}

function hex(octetsOfHash) {
  return Array.from(octetsOfHash, (octet) => octet.toString(16).padStart(2, "0")).join("");
}
