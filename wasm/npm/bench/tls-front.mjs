// Ends TLS before the harness's HTTP server, and runs the program that the arguments name. Written for a measurement: what it
// costs it costs every row alike.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { HTTP, SHIFT } from "./tls-address.mjs";

const [base, file, command, ...args] = process.argv.slice(2);
const { key, cert, conf } = JSON.parse(readFileSync(file, "utf8"));
const own = `${file}.own`;
writeFileSync(own, conf);

const accept = (socket) => {
  const target = net.connect(Number(base) + HTTP, "127.0.0.1");
  for (const [from, to] of [[socket, target], [target, socket]]) {
    from.setNoDelay(true);
    from.on("error", () => to.destroy()).pipe(to);
  }
};
// Ciphers as the client prefers them, as nginx has it by itself.
const options = { key, cert, ALPNProtocols: ["http/1.1"], honorCipherOrder: false };
const front = tls.createServer(options, accept);
front.on("error", (error) => {
  // Another row's is there already, with the same certificate.
  if (error.code !== "EADDRINUSE") throw error;
});
front.listen(Number(base) + HTTP + SHIFT);

const program = spawn(command, args.map((arg) => (arg === file ? own : arg)), { stdio: "inherit" });
program.on("exit", (code) => process.exit(code ?? 1));
process.on("SIGTERM", () => program.kill());
