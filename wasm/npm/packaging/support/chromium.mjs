// Headless Chromium as a plain child process: a debugging client would mirror every WebSocket message.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** Opens `url`; returns a function that ends the browser. */
export function openChromium(url) {
  const profile = mkdtempSync(join(tmpdir(), "webtun-chromium-"));
  const executable = process.env.CHROMIUM ?? "chromium";
  const child = spawn(executable, [...FLAGS, `--user-data-dir=${profile}`, url], { stdio: "ignore", detached: true });
  const failed = new Promise((_, reject) => child.on("error", reject));
  failed.catch(() => {});
  const ended = new Promise((resolve) => child.on("close", resolve));
  return {
    failed,
    async close() {
      try {
        process.kill(-child.pid, "SIGKILL");
        await ended;
      } catch {}
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
