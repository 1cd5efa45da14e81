// Runs a server of ../servers where the playground is, so that a tunnel reaches it at the playground's address.
import { spawn } from "node:child_process";
import path from "node:path";
import readline from "node:readline";

const folder = path.resolve(import.meta.dirname, "../servers");

/** Where they are found. */
export const ADDRESS = "198.18.0.2";

const running = new Map();

/** Starts it, once; resolves with what it says about itself. It ends with this process, which holds its input open. */
export function startServer(name) {
  if (!running.has(name)) running.set(name, start(name));
  return running.get(name);
}

async function start(name) {
  const namespace = process.env.PLAYGROUND_NETNS;
  if (!namespace) throw new Error("PLAYGROUND_NETNS is not set: run this by `cargo xtask demo --run`");
  const program = [process.execPath, path.join(folder, `${name}.mjs`), ADDRESS];
  const child = spawn("ip", ["netns", "exec", namespace, ...program], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
  });
  ended.catch(() => running.delete(name));
  const line = new Promise((resolve) => readline.createInterface({ input: child.stdout }).once("line", resolve));
  const description = JSON.parse(await Promise.race([line, ended]));
  child.unref();
  child.stdin.unref();
  child.stdout.unref();
  return description;
}
