// A second gateway for what the demo's cannot show: tokens, one session each, and a short grace. It has a network
// namespace of its own, joined to ours by a pair of virtual Ethernet devices, so that the two do not meet.
import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { OPEN } from "./everywhere.mjs";
import { spawnGateway } from "./gateway-process.mjs";

const NAMESPACE = "webtun-strict";
const DEVICE = "wtstrict0";
/** Of RFC 2544, as the playground's, and apart from it. */
const OURS = "198.19.255.1";
const THEIRS = "198.19.255.2";
const PORT = 8078;
/** The machine behind it, which answers at every address, and the two ends of the way there. */
const BEYOND = "webtun-beyond";
const NEAR = ["198.19.254.1/30", "2001:2:0:fe::1/64"];
const FAR = ["198.19.254.2/30", "2001:2:0:fe::2/64"];

/** The tokens that it knows. */
export const TOKENS = ["strict-first", "strict-second"];
/** Seconds for which a session waits for its client. */
const GRACE = 3;

/** Signs the tokens of others that it takes. */
const SECRET = "the strict gateway's secret, of 48 octets or so..";

/** Such a token (RFC 7519, HS256) for five minutes. */
export function sign(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 300;
  const signed = `${part({ alg: "HS256" })}.${part({ exp, ...claims })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

const configuration = (folder) => `
listen = "${THEIRS}:${PORT}"
tokens = ${JSON.stringify(TOKENS)}
allow_origins = ["*"]
[[auth.jwt]]
key = "${path.join(folder, "secret")}"
[external]
announced_ipv4 = "${THEIRS}"
[dns]
upstream = ["${OPEN[0]}"]
[limits]
sessions_per_peer = 1
grace_s = ${GRACE}
`;

/** A user without any privilege. */
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs", "--"];

/** Has that user read a folder, and open sockets for pings, as a machine's owner allows it. */
function letNobody(folder) {
  for (const file of [folder, ...fs.readdirSync(folder).map((each) => path.join(folder, each))]) fs.chownSync(file, 65534, 65534);
  const allow = "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range";
  execFileSync("ip", ["netns", "exec", NAMESPACE, "sh", "-ec", allow]);
}

function ip(words) {
  execFileSync("ip", words.split(" "), { stdio: ["ignore", "ignore", "pipe"] });
}

function removeNetwork() {
  for (const namespace of [NAMESPACE, BEYOND]) {
    try {
      ip(`netns delete ${namespace}`);
    } catch {}
  }
  try {
    ip(`link delete ${DEVICE}`);
  } catch {}
}

function createNetwork() {
  removeNetwork();
  ip(`netns add ${NAMESPACE}`);
  ip(`link add ${DEVICE} type veth peer name eth0 netns ${NAMESPACE}`);
  ip(`address add ${OURS}/30 dev ${DEVICE}`);
  ip(`link set ${DEVICE} up`);
  ip(`-n ${NAMESPACE} address add ${THEIRS}/30 dev eth0`);
  ip(`-n ${NAMESPACE} link set lo up`);
  ip(`-n ${NAMESPACE} link set eth0 up`);
  createBeyond();
}

/** Everything that has no other way leads there, and there every destination is the machine's own. */
function createBeyond() {
  ip(`netns add ${BEYOND}`);
  ip(`-n ${NAMESPACE} link add beyond0 type veth peer name eth0 netns ${BEYOND}`);
  for (const [namespace, device, addresses] of [[NAMESPACE, "beyond0", NEAR], [BEYOND, "eth0", FAR]]) {
    ip(`-n ${namespace} address add ${addresses[0]} dev ${device}`);
    ip(`-n ${namespace} address add ${addresses[1]} dev ${device} nodad`);
    ip(`-n ${namespace} link set ${device} up`);
  }
  ip(`-n ${BEYOND} link set lo up`);
  ip(`-n ${NAMESPACE} route add default via ${FAR[0].split("/")[0]}`);
  ip(`-n ${NAMESPACE} -6 route add default via ${FAR[1].split("/")[0]}`);
  ip(`-n ${BEYOND} route add local default dev lo table main`);
  ip(`-n ${BEYOND} -6 route add local default dev lo table main`);
  // No socket is bound to an IPv6 address that is the machine's own by a route alone.
  ip(`-n ${BEYOND} address add ${OPEN[1]}/128 dev lo nodad`);
}

export class StrictGateway {
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-strict-"));
  #process;
  #beyond;
  url = new URL(`ws://${THEIRS}:${PORT}/`);
  /** The addresses at which somebody was let through to the machine behind it. */
  reached = [];

  /** Resolves when it listens. */
  async start() {
    createNetwork();
    await this.#startBeyond();
    const file = path.join(this.#folder, "gateway.toml");
    fs.writeFileSync(path.join(this.#folder, "secret"), SECRET);
    fs.writeFileSync(file, configuration(this.#folder));
    // As the first one's: without a TUN device a user who is nobody runs it.
    const sockets = process.env.WEBTUN_EGRESS === "user";
    if (sockets) letNobody(this.#folder);
    const before = ["ip", "netns", "exec", NAMESPACE, ...(sockets ? NOBODY : [])];
    this.#process = spawnGateway(["--egress", sockets ? "user" : "tun", "--config", file], before);
    await this.#process.listening;
  }

  #startBeyond() {
    const program = path.join(import.meta.dirname, "everywhere.mjs");
    const args = ["netns", "exec", BEYOND, process.execPath, program];
    this.#beyond = spawn("ip", args, { stdio: ["ignore", "pipe", "inherit"] });
    return new Promise((resolve, reject) => {
      this.#beyond.once("exit", () => reject(new Error("the machine behind the second gateway did not start")));
      readline.createInterface({ input: this.#beyond.stdout }).on("line", (line) => {
        const [word, address] = line.split(" ");
        if (word === "serving") resolve();
        if (word === "reached") this.reached.push(address);
      });
    });
  }

  /** Ends it, and removes its network. */
  async stop() {
    this.#process?.child.kill("SIGTERM");
    await this.#process?.gone;
    this.stopNow();
  }

  /** The same at once; for the exit of this process. */
  stopNow() {
    this.#process?.child.kill("SIGKILL");
    this.#beyond?.kill("SIGKILL");
    removeNetwork();
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}
