// A gateway of a scenario's own, with ordinary sockets, for settings that no other has.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { gatewayProgram } from "./options.mjs";

/** The playground's addresses, which are not global unicast. */
const PLAYGROUND = ["198.18.0.0/15", "2001:2::/48"];

const configuration = (settings) => `
listen = "127.0.0.1:0"
allow_origins = ["*"]
${settings}
${PLAYGROUND.map((prefix) => `[[policy.rule]]\naction = "allow"\nprefix = "${prefix}"\n`).join("")}
`;

const running = new Map();

/** Starts one with these lines of configuration; resolves with its URL when it listens. */
export async function startGateway(settings) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-own-"));
  const file = path.join(folder, "gateway.toml");
  fs.writeFileSync(file, configuration(settings));
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WEBTUN_")));
  const child = spawn(gatewayProgram(), ["--egress", "user", "--config", file], { env, stdio: ["ignore", "pipe", "pipe"] });
  const end = () => {
    child.kill("SIGKILL");
    fs.rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", end);
  let log = "";
  const url = await new Promise((resolve, reject) => {
    const listen = (text) => {
      log = (log + text).slice(-4000);
      const found = /listening on \S*?(127\.0\.0\.1:\d+)/.exec(log);
      if (found) resolve(`ws://${found[1]}/`);
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.once("exit", () => reject(new Error(`the gateway did not start: ${log.trim()}`)));
  }).catch((error) => {
    end();
    throw error;
  });
  running.set(url, () => {
    end();
    process.off("exit", end);
  });
  return url;
}

/** Ends one of them. */
export function stopGateway(url) {
  running.get(url)?.();
  running.delete(url);
}
