// The network behind the second gateway: one machine that has every address that a kernel lets it have. Whatever the
// gateway lets through is answered, so a leak shows. It also serves DNS, with names that change their mind.
import dgram from "node:dgram";
import http from "node:http";
import net from "node:net";
import { sequence } from "../client/octets.mjs";

/** Where every address has a server. */
export const PORT = 80;
/** Where every address has a server that never says a word. */
export const QUIET = 81;
/** Where every address has a web server, of the playground's octets: `/blob?size=N`. */
export const WEB = 82;
/** The resolver, and what stands for the internet: addresses that nothing denies. */
export const OPEN = ["45.33.7.53", "2600:1f00::53"];

/** A query's name and type, and where its question ends. */
function question(message) {
  const labels = [];
  let at = 12;
  while (message[at] !== 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + message[at]));
    at += 1 + message[at];
  }
  return { labels, type: message.readUInt16BE(at + 1), end: at + 5 };
}

/**
 * `<hex>.at.test` is the address that the digits spell. `<n>-<hex>.rebind.test` is an open one at the first query for
 * its type, and the one that the digits spell from then on. Of `<any>.failing.test` the server says SERVFAIL, and of
 * `<any>.refused.test` REFUSED.
 */
function addressOf([first, kind], type, seen) {
  const [hex] = first.split("-").slice(-1);
  if (!["at", "rebind"].includes(kind) || hex.length !== (type === 1 ? 8 : 32)) return undefined;
  const octets = Buffer.from(hex, "hex");
  if (kind !== "rebind" || seen.has(first)) return octets;
  seen.add(first);
  return type === 1 ? Buffer.from([45, 33, 7, 53]) : Buffer.from("26001f00000000000000000000000053", "hex");
}

const FAILURES = { failing: 2, refused: 5 };

function answer(message, seen) {
  const { labels, type, end } = question(message);
  const address = type === 1 || type === 28 ? addressOf(labels, type, seen) : undefined;
  const head = Buffer.from(message.subarray(0, end));
  head.writeUInt16BE(0x8180 | (FAILURES[labels[1]] ?? 0), 2);
  head.writeUInt16BE(address ? 1 : 0, 6);
  head.fill(0, 8, 12);
  if (!address) return head;
  // A pointer to the question's name; class IN; nothing may keep it.
  const record = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, address.length]);
  return Buffer.concat([head, record, address]);
}

/** Answers at the open addresses, by sockets of their own so that answers come from there, and tells of all others. */
function serveDatagrams() {
  for (const address of OPEN) {
    const socket = dgram.createSocket({ type: net.isIPv6(address) ? "udp6" : "udp4", reuseAddr: true });
    socket.on("message", (_, from) => socket.send("reached", from.port, from.address));
    socket.bind(PORT, address);
  }
  const others = dgram.createSocket({ type: "udp6", reuseAddr: true });
  others.on("message", (_, from) => console.log(`reached UDP-from-${from.address}`));
  others.bind(PORT, "::");
}

function serve() {
  const seen = new Set();
  const server = net.createServer((socket) => {
    console.log(`reached ${socket.localAddress}`);
    socket.on("error", () => {});
    socket.end("reached");
  });
  net.createServer((socket) => socket.on("error", () => {})).listen(QUIET, "::");
  serveDatagrams();
  http
    .createServer(({ url }, response) => response.end(sequence(Number(new URL(url, "http://any").searchParams.get("size")))))
    .listen(WEB, "::");
  server.listen(PORT, "::", () => {
    const resolver = dgram.createSocket("udp4");
    // Bound to the address, so that answers come from it.
    resolver.on("message", (message, from) => resolver.send(answer(message, seen), from.port, from.address));
    resolver.bind(53, OPEN[0], () => console.log("serving"));
  });
}

if (process.argv[1] === import.meta.filename) serve();
