// A real PostgreSQL at the address that is given, with a cluster of its own; `{ port, password }` is its first line. It
// ends with its input, and its files with it.
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const PORT = 5433;
const PASSWORD = "not a secret";

/** Where Debian's packages put the newest version's programs; PostgreSQL does not run as root. */
const VERSIONS = "/usr/lib/postgresql";
const version = fs.existsSync(VERSIONS) ? fs.readdirSync(VERSIONS).map(Number).sort((a, b) => b - a)[0] : undefined;
if (version === undefined) {
  console.error("there is no PostgreSQL: apt-get install postgresql");
  process.exit(1);
}
const USER = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL"];
const command = (name, ...args) => [[...USER, path.join(VERSIONS, String(version), "bin", name), ...args]];

// Always the same: who is killed leaves it behind, and the next one takes it away.
const folder = path.join(os.tmpdir(), "webtun-postgres");
const data = path.join(folder, "data");
const remove = () => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
remove();
fs.mkdirSync(folder, { mode: 0o700 });
process.on("exit", remove);
const secret = path.join(folder, "password");
fs.writeFileSync(secret, PASSWORD);
execFileSync("chown", ["-R", "postgres:postgres", folder]);
const creation = ["--no-sync", "--auth=scram-sha-256", `--pwfile=${secret}`, "--pgdata", data];
execFileSync("setpriv", ...command("initdb", ...creation), { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
fs.appendFileSync(path.join(data, "pg_hba.conf"), "host all all all scram-sha-256\n");

const settings = {
  fsync: "off", listen_addresses: process.argv[2], port: PORT, unix_socket_directories: "", shared_buffers: "8MB",
};
const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
const server = spawn("setpriv", ...command("postgres", "-D", data, ...options), {
  cwd: folder, stdio: ["ignore", "ignore", "pipe"],
});
let log = "";
server.stderr.on("data", (text) => {
  const before = log;
  log = (log + text).slice(-4000);
  const ready = (said) => /ready to accept connections/.test(said);
  if (ready(log) && !ready(before)) console.log(JSON.stringify({ port: PORT, password: PASSWORD }));
});
server.once("exit", (code) => {
  console.error(log);
  process.exit(code ?? 1);
});
// At once: whoever ends the namespace waits for nobody in it.
process.stdin.resume().once("end", () => {
  server.removeAllListeners("exit");
  server.kill("SIGQUIT");
  process.exit(0);
});
