/** How a program of emcc comes to its network before its `main`. */
import {
  attachmentOf, awaitMessage, browserThread, explainAbsence, nodeThread, type NodeThreads, type Thread,
} from "../posix/attachment.js";
import type { Attachment } from "../posix/layout.js";
import type { Environment } from "./environment.js";

const DEPENDENCY = "webtun";

function thisThread(): Thread {
  const node = typeof process === "object" && typeof process.versions?.node === "string";
  const threads = node && typeof require === "function" ? (require("node:worker_threads") as NodeThreads) : undefined;
  return threads === undefined ? browserThread() : nodeThread(threads);
}

/** Why this program has no network, and what to do. */
export function explain(): string {
  return explainAbsence(thisThread());
}

/** Calls `attach` once, with what the page sends; until then `main` does not begin. */
export function awaitAttachment(environment: Environment, attach: (attachment: Attachment) => void): void {
  const given = attachmentOf(environment.module);
  if (given !== undefined) return attach(given);
  const thread = thisThread();
  if (!thread.worker) return;
  environment.addRunDependency(DEPENDENCY);
  const ready = (attachment: Attachment): void => {
    attach(attachment);
    environment.removeRunDependency(DEPENDENCY);
  };
  awaitMessage(thread, ready, environment.warn);
}
