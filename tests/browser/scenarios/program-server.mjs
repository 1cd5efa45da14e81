import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "an HTTP server in C listens in a Worker, and curl outside reaches it by a mapped port";
export const programs = true;

const OUTSIDE = "198.18.0.1";
const REQUESTS = 10;

export const host = {
  /** What curl prints; asked again until the port is mapped. */
  async curl(_tools, url) {
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    const options = ["-sS", "--max-time", "20", "--retry", "20", "--retry-delay", "1", "--retry-all-errors"];
    return (await promisify(execFile)("curl", [...options, url])).stdout;
  },
};

export default async function (t) {
  const net = await t.open();
  const program = await Program.start(t, undefined, "httpd", REQUESTS);
  net.attach(program.worker, { external: true });
  const port = /\d+/.exec(await within(program.line(/^port/), "its port"))[0];
  for (let number = 1; number <= REQUESTS; number++) {
    const text = await within(t.host("curl", `http://${OUTSIDE}:${port}/page/${number}`), `answer ${number}`, 40_000);
    t.equal(text, `GET /page/${number} HTTP/1.1\n`, "what curl prints");
  }
  const { exit } = await within(program.ended, "the server's end");
  t.equal(`${exit} ${program.lines.at(-1)}`, `0 ${REQUESTS} answered`, "the server says");
}
