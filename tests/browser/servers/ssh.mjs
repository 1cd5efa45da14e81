// A real OpenSSH server at the address that is given, with keys of its own; what a client needs is its first line. It ends
// with its input, and its files with it.
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const PORT = 2222;
const SERVER = "/usr/sbin/sshd";

if (!fs.existsSync(SERVER)) {
  console.error("there is no sshd: apt-get install openssh-server");
  process.exit(1);
}
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-ssh-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
const file = (name) => path.join(folder, name);
for (const name of ["host", "user"]) {
  execFileSync("ssh-keygen", ["-q", "-t", "ecdsa", "-b", "256", "-m", "PEM", "-N", "", "-f", file(name)]);
}
// Of a parent that drops its privileges in it.
fs.mkdirSync("/run/sshd", { recursive: true });
fs.writeFileSync(file("config"), `
Port ${PORT}
ListenAddress ${process.argv[2]}
HostKey ${file("host")}
AuthorizedKeysFile ${file("user.pub")}
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PrintMotd no
PidFile none
`);
const fingerprint = /SHA256:\S+/.exec(execFileSync("ssh-keygen", ["-lf", file("host.pub")], { encoding: "utf8" }))[0];

const server = spawn(SERVER, ["-D", "-e", "-f", file("config")], { stdio: ["ignore", "ignore", "pipe"] });
let log = "";
server.stderr.on("data", (text) => {
  const before = log;
  log = (log + text).slice(-4000);
  if (!/listening/.test(log) || /listening/.test(before)) return;
  const [key, publicKey] = ["user", "user.pub"].map((name) => fs.readFileSync(file(name), "utf8"));
  console.log(JSON.stringify({ port: PORT, user: "root", key, publicKey, fingerprint }));
});
server.once("exit", (code) => {
  console.error(log);
  process.exit(code ?? 1);
});
process.stdin.resume().once("end", () => {
  server.removeAllListeners("exit");
  server.kill();
  process.exit(0);
});
