// The tests of RFC 5780 sections 4.3 and 4.4, by the page itself, with coturn as the server.
export const about = "a page finds by STUN an endpoint-independent mapping and an address-dependent filtering";
export const egress = true;

const NAMESPACE = "webtun-play";
const PORT = 3478;
const OTHER_ADDRESS = "198.18.0.3";
const ADDRESS = "198.18.0.2";

let server;
export const host = {
  /** Resolves when it listens at both addresses. */
  async start() {
    const { execFileSync, spawn } = await import("node:child_process");
    const { mkdtempSync } = await import("node:fs");
    const inside = (...words) => ["netns", "exec", NAMESPACE, ...words];
    execFileSync("ip", ["-n", NAMESPACE, "address", "replace", `${OTHER_ADDRESS}/24`, "dev", "eth0"]);
    const folder = mkdtempSync("/tmp/webtun-stun-");
    const flags = ["-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout"];
    const places = ["-L", ADDRESS, "-L", OTHER_ADDRESS, "--pidfile", `${folder}/pid`];
    server = { folder, child: spawn("ip", inside("turnserver", ...flags, ...places), { stdio: "ignore" }) };
    server.child.on("error", () => {});
    for (let tries = 0; tries < 200; tries++) {
      const sockets = execFileSync("ip", inside("ss", "-Hlun", "sport", "=", String(PORT + 1)), { encoding: "utf8" });
      if (sockets.includes(ADDRESS) && sockets.includes(OTHER_ADDRESS)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("the STUN server does not listen");
  },
  async stop() {
    const { rmSync } = await import("node:fs");
    const gone = new Promise((resolve) => server.child.once("exit", resolve));
    server.child.kill();
    await gone;
    rmSync(server.folder, { recursive: true });
  },
};

export default async function (t) {
  const net = await t.open();
  await t.host("start");
  try {
    const mapping = await Client.open(net);
    const first = await mapping.ask(ADDRESS, PORT);
    t.equal(first?.other, `${OTHER_ADDRESS}:${PORT + 1}`, "the server's other address");
    for (const [address, port] of [[OTHER_ADDRESS, PORT], [OTHER_ADDRESS, PORT + 1]]) {
      const answer = await mapping.ask(address, port);
      t.equal(answer?.mapped, first.mapped, `how ${address} port ${port} sees the socket`);
    }
    await mapping.close();

    const filtering = await Client.open(net);
    t.check(await filtering.ask(ADDRESS, PORT), "no answer");
    t.equal(await filtering.ask(ADDRESS, PORT, CHANGE_ADDRESS | CHANGE_PORT), undefined, "from an address never asked");
    const answer = await filtering.ask(ADDRESS, PORT, CHANGE_PORT);
    t.equal(answer?.from, `${ADDRESS}:${PORT + 1}`, "the address that was asked may answer from any port");
    await filtering.close();
    return first.mapped;
  } finally {
    await t.host("stop");
  }
}

const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const COOKIE = 0x2112a442;
const CHANGE_REQUEST = 0x0003;
const CHANGE_ADDRESS = 4;
const CHANGE_PORT = 2;
const XOR_MAPPED_ADDRESS = 0x0020;
const OTHER_ADDRESS_TYPE = 0x802c;

/** One socket, and the questions that it asks (RFC 5389). */
class Client {
  static async open(net) {
    const client = new Client();
    client.socket = new net.UDPSocket({ localAddress: "0.0.0.0" });
    const { readable, writable } = await client.socket.opened;
    client.reader = readable.getReader();
    client.writer = writable.getWriter();
    client.next = client.reader.read();
    return client;
  }

  /** The answer, or undefined where none comes to two questions within a second each. */
  async ask(remoteAddress, remotePort, change = 0) {
    const id = crypto.getRandomValues(new Uint32Array(3));
    for (let tries = 0; tries < 2; tries++) {
      await this.writer.write({ data: request(id, change), remoteAddress, remotePort });
      const end = performance.now() + 1000;
      for (;;) {
        const rest = new Promise((resolve) => setTimeout(resolve, end - performance.now()));
        const read = await Promise.race([this.next, rest]);
        if (read === undefined) break;
        this.next = this.reader.read();
        const answer = parse(read.value, id);
        if (answer) return answer;
      }
    }
    return undefined;
  }

  async close() {
    this.reader.releaseLock();
    this.writer.releaseLock();
    await this.next.catch(() => {});
    await this.socket.close();
  }
}

function request(id, change) {
  const view = new DataView(new ArrayBuffer(28));
  view.setUint16(0, BINDING_REQUEST);
  view.setUint16(2, 8);
  view.setUint32(4, COOKIE);
  id.forEach((word, index) => view.setUint32(8 + 4 * index, word));
  view.setUint16(20, CHANGE_REQUEST);
  view.setUint16(22, 4);
  view.setUint32(24, change);
  return new Uint8Array(view.buffer);
}

/** What a response says, or undefined where it answers something else. */
function parse({ data, remoteAddress, remotePort }, id) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const isOurs = id.every((word, index) => view.getUint32(8 + 4 * index) === word);
  if (view.getUint16(0) !== BINDING_SUCCESS || !isOurs) return undefined;
  const answer = { from: `${remoteAddress}:${remotePort}` };
  for (let at = 20; at + 4 <= view.byteLength; at += 4 + ((view.getUint16(at + 2) + 3) & ~3)) {
    if (view.getUint16(at) === XOR_MAPPED_ADDRESS) answer.mapped = endpoint(view, at + 4, COOKIE);
    if (view.getUint16(at) === OTHER_ADDRESS_TYPE) answer.other = endpoint(view, at + 4, 0);
  }
  return answer;
}

function endpoint(view, at, mask) {
  const address = (view.getUint32(at + 4) ^ mask) >>> 0;
  const octets = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255);
  return `${octets.join(".")}:${view.getUint16(at + 2) ^ (mask >>> 16)}`;
}
