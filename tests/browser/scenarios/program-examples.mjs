import { within } from "../client/context.mjs";
import { shown, typeLine, until } from "../client/terminal.mjs";

export const about = "the page of example programs: ping, DNS, an HTTP server, iperf3, Redis, PostgreSQL and SSH in a terminal";
export const where = ["chromium"];
export const programs = ["iperf3", "redis", "postgres", "ssh", "examples"];
export const deadline = 180;

const OUTSIDE = "198.18.0.1";
const SERVER = "198.18.0.2";

export const host = {
  server: async (_tools, name) => (await import("../harness/servers.mjs")).startServer(name),
  async curl(_tools, url) {
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    const options = ["-sS", "--max-time", "20", "--retry", "20", "--retry-delay", "1", "--retry-all-errors"];
    return (await promisify(execFile)("curl", [...options, url])).stdout;
  },
};

class Page {
  #frame = document.createElement("iframe");

  constructor(gateway, command = "") {
    this.#frame.width = "900";
    this.#frame.height = "700";
    const query = `gateway=${encodeURIComponent(gateway)}`;
    this.#frame.src = `/programs/examples-page/index.html?${query}#${encodeURIComponent(command)}`;
    document.body.append(this.#frame);
  }

  get text() {
    return this.#frame.contentDocument === null ? "" : shown(this.#frame);
  }

  get status() {
    return this.#frame.contentDocument?.documentElement?.dataset.status;
  }

  type(line) {
    delete this.#frame.contentDocument.documentElement.dataset.status;
    typeLine(this.#frame, line);
  }

  async shows(pattern, what) {
    await within(until(() => pattern.test(this.text)), `${what}; the terminal shows ${this.text}`, 30_000);
    return pattern.exec(this.text);
  }

  async ends(what) {
    await within(until(() => this.status !== undefined), `the end of ${what}; the terminal shows ${this.text}`, 30_000);
  }

  remove() {
    this.#frame.remove();
  }
}

export default async function (t) {
  const page = new Page(t.url());
  await page.shows(/\$ /, "the prompt");
  const redis = await t.host("server", "redis");
  const postgres = await t.host("server", "postgres");
  for (const [line, pattern] of [
    ["ping www.playground.test 64", /echo: 2000 octets/],
    [`dns ${SERVER} big.playground.test`, /tcp: code 0, 100,/],
    [`redis ${SERVER} ${redis.port} ECHO "from a page"`, /^from a page/m],
    [`postgres ${SERVER} ${postgres.port} "${postgres.password}" "SELECT 6 * 7 AS answer"`, /^answer\s+-*\s+42/m],
  ]) {
    page.type(line);
    await page.shows(pattern, line);
    await page.ends(line);
    t.equal(page.status, "0", `the exit status of ${line}`);
  }
  page.type("httpd 1");
  const [, port] = await page.shows(/port (\d+)/, "the server's port");
  t.equal(await t.host("curl", `http://${OUTSIDE}:${port}/page`), "GET /page HTTP/1.1\n", "what curl prints");
  await page.ends("httpd");
  page.type("iperf3 -c iperf.playground.test -t 1");
  await page.shows(/receiver/, "iperf3");
  await page.ends("iperf3");
  page.remove();

  const { port: sshPort, user, key, publicKey, fingerprint } = await t.host("server", "ssh");
  const words = ["ssh", SERVER, sshPort, user, key, publicKey.trim(), fingerprint, "echo by an old shell"];
  const session = new Page(t.url(), words.map((word) => `'${word}'`).join(" "));
  await session.ends("ssh");
  await session.shows(/^by an old shell\s+exit status 0/m, "what the shell says");
  session.remove();
}
