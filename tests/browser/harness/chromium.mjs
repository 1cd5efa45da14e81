// A Chromium that nobody debugs: a plain child process that opens one page. With a DevTools client attached it would
// report every WebSocket frame, and be several times slower than what people use.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];
const PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

function program() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const folder of (process.env.PATH ?? "").split(":")) {
    for (const name of PROGRAMS) {
      const file = path.join(folder, name);
      if (fs.existsSync(file)) return file;
    }
  }
  throw new Error("no Chromium on PATH: apt-get install chromium, or set CHROMIUM to its path");
}

/** One browser with a profile of its own. */
export class Chromium {
  #child;
  #folder;
  #log = "";
  /** Resolves when it has ended, by itself or not. */
  gone;

  constructor(url) {
    this.#folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-chromium-"));
    const args = [...FLAGS, `--user-data-dir=${path.join(this.#folder, "profile")}`, url];
    const env = { ...process.env, TMPDIR: this.#folder, HOME: this.#folder };
    // A process group of its own, so that all of its processes can be ended together.
    this.#child = spawn(program(), args, { env, detached: true, stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr.on("data", (text) => (this.#log = (this.#log + text).slice(-2000)));
    this.gone = new Promise((resolve) => {
      this.#child.once("exit", resolve);
      this.#child.once("error", (error) => resolve((this.#log += error.message)));
    });
  }

  /** The last that it has said on its standard error. */
  get log() {
    return this.#log;
  }

  /** Octets of memory that all of its processes keep resident; what several share counts once. */
  get memory() {
    return this.#ofGroup().reduce((sum, pid) => sum + proportionalSetSize(pid), 0);
  }

  /** Ends it at once, and removes its profile. */
  closeNow() {
    this.#kill();
    // A process that is about to die may still write into it.
    fs.rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }

  /** The same, once its processes are gone. */
  async close() {
    this.#kill();
    await this.gone;
    this.closeNow();
  }

  #kill() {
    for (const pid of this.#pids()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {}
    }
  }

  /** The processes of its group. */
  #ofGroup() {
    return fs.readdirSync("/proc").filter((name) => {
      try {
        // Behind the name, which is in parentheses: state, parent, process group (proc(5)).
        return /^\d+$/.test(name) && Number(stat(name).split(" ")[2]) === this.#child.pid;
      } catch {
        return false;
      }
    });
  }

  /** The group, and what has left it but names our folder on its command line. */
  #pids() {
    const group = this.#child.pid === undefined ? [] : [-this.#child.pid];
    const named = fs.readdirSync("/proc").filter((name) => {
      try {
        return /^\d+$/.test(name) && fs.readFileSync(`/proc/${name}/cmdline`, "utf8").includes(this.#folder);
      } catch {
        return false;
      }
    });
    return [...group, ...named.map(Number)];
  }
}

function stat(pid) {
  const text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2);
}

/** Octets; 0 of a process that is gone. */
function proportionalSetSize(pid) {
  try {
    return Number(/^Pss: +(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]) * 1024;
  } catch {
    return 0;
  }
}
