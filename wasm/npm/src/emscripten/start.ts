/** How a program comes to its network before its `main`. */
import type { Attachment } from "../posix/layout.js";
import type { Environment } from "./environment.js";

/** Milliseconds after which a program that waits says what it waits for. */
const PATIENCE = 5000;

const DEPENDENCY = "webtun";

interface NodePort {
  on(event: "message", listener: (message: unknown) => void): void;
  off(event: "message", listener: (message: unknown) => void): void;
}

interface NodeThreads {
  readonly isMainThread: boolean;
  readonly parentPort: NodePort | null;
}

function nodeThreads(): NodeThreads | undefined {
  const node = typeof process === "object" && typeof process.versions?.node === "string";
  return node && typeof require === "function" ? (require("node:worker_threads") as NodeThreads) : undefined;
}

function inWorker(): boolean {
  const threads = nodeThreads();
  if (threads !== undefined) return !threads.isMainThread;
  return typeof document === "undefined" && "importScripts" in globalThis;
}

/** Why a program has no network, and what to do. */
export function explainAbsence(): string {
  if (typeof SharedArrayBuffer === "undefined") {
    return (
      "there is no SharedArrayBuffer: serve the page with Cross-Origin-Opener-Policy: same-origin and " +
      "Cross-Origin-Embedder-Policy: require-corp"
    );
  }
  if (!inWorker()) {
    return "sockets block, and this thread may not: run the program in a Worker, and hand it to net.attach(worker)";
  }
  return "the program has no network: call net.attach(worker) before it opens a socket";
}

function attachmentOf(message: unknown): Attachment | undefined {
  return (message as { webtun?: Attachment } | null | undefined)?.webtun;
}

/** Calls `attach` once, with what the page sends; until then `main` does not begin. */
export function awaitAttachment(environment: Environment, attach: (attachment: Attachment) => void): void {
  const given = attachmentOf(environment.module);
  if (given !== undefined) return attach(given);
  if (!inWorker()) return;
  environment.addRunDependency(DEPENDENCY);
  const timer = setTimeout(() => environment.warn(`still waiting; ${explainAbsence()}`), PATIENCE);
  const take = (message: unknown): boolean => {
    const attachment = attachmentOf(message);
    if (attachment === undefined) return false;
    clearTimeout(timer);
    attach(attachment);
    environment.removeRunDependency(DEPENDENCY);
    return true;
  };
  const port = nodeThreads()?.parentPort;
  if (port != null) {
    const listener = (message: unknown): void => {
      if (take(message)) port.off("message", listener);
    };
    return port.on("message", listener);
  }
  const listener = (event: MessageEvent): void => {
    if (take(event.data)) removeEventListener("message", listener);
  };
  addEventListener("message", listener);
}
