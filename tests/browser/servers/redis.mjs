// A real Redis at the address that is given, without a file; `{ port }` is its first line. It ends with its input.
import { spawn } from "node:child_process";

const PORT = 6380;

const server = spawn(
  "redis-server",
  ["--bind", process.argv[2], "--port", String(PORT), "--protected-mode", "no", "--save", "", "--dir", "/tmp"],
  { stdio: ["ignore", "pipe", "inherit"] },
);
let log = "";
server.stdout.on("data", (text) => {
  const before = log;
  log = (log + text).slice(-4000);
  if (/Ready to accept/.test(log) && !/Ready to accept/.test(before)) console.log(JSON.stringify({ port: PORT }));
});
server.once("error", (error) => {
  console.error(`redis-server: ${error.message}: apt-get install redis-server`);
  process.exit(1);
});
server.once("exit", (code) => {
  console.error(log);
  process.exit(code ?? 1);
});
process.stdin.resume().once("end", () => {
  server.kill();
  process.exit(0);
});
