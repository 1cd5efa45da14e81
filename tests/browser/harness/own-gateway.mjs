// A gateway of a scenario's own, with ordinary sockets, for settings that no other has.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawnGateway } from "./gateway-process.mjs";

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
  const { child, listening } = spawnGateway(["--egress", "user", "--config", file]);
  const end = () => {
    child.kill("SIGKILL");
    fs.rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", end);
  const address = await listening.catch((error) => {
    end();
    throw error;
  });
  const url = `ws://${address}/`;
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
