// As much of HTTP/1.1 as the playground's server needs, over a TCPSocket of the tunnel.
import { OctetReader } from "./reader.mjs";

const HOST = "www.playground.test";
const encoder = new TextEncoder();

/** Asks for `path`; resolves with the head of the answer and a reader that stands at its body. */
export async function get(net, path, options) {
  const socket = new net.TCPSocket(HOST, 80, options);
  const { readable, writable } = await socket.opened;
  const writer = writable.getWriter();
  await writer.write(encoder.encode(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`));
  return { socket, writer, ...(await answer(new OctetReader(readable))) };
}

/** The text of a short answer. */
export async function getText(net, path, options) {
  const { status, reader } = await get(net, path, options);
  const text = await reader.text();
  if (status !== 200) throw new Error(`GET ${path}: ${status} ${text.trim()}`);
  return text.trim();
}

/** The hash of the playground's first `size` octets, as it counts it. */
export function expectedHash(net, size) {
  return getText(net, `/sha256?size=${size}`);
}

/** Uploads `body` to the sink in pieces of `piece` octets; resolves with the receipt. */
export async function put(net, body, piece, onProgress = () => {}) {
  const socket = new net.TCPSocket(HOST, 80);
  const { readable, writable } = await socket.opened;
  const writer = writable.getWriter();
  const head = `PUT /sink HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  await writer.write(encoder.encode(head));
  for (let at = 0; at < body.length; at += piece) {
    await writer.write(body.subarray(at, at + piece));
    await onProgress(Math.min(at + piece, body.length));
  }
  const { status, reader } = await answer(new OctetReader(readable));
  if (status !== 200) throw new Error(`PUT /sink: ${status}`);
  return JSON.parse(await reader.text());
}

async function answer(reader) {
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(await reader.line())?.[1]);
  let length;
  for (let line = await reader.line(); line !== ""; line = await reader.line()) {
    const [, name, value] = /^([^:]+):\s*(.*)$/.exec(line) ?? [];
    if (name?.toLowerCase() === "content-length") length = Number(value);
  }
  return { status, length, reader };
}
