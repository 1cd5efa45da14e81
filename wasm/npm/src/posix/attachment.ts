/** How a program comes to its network: the page sends it to the Worker that the program runs in. */
import type { Attachment } from "./layout.js";

/** Milliseconds after which a program that waits says what it waits for. */
const PATIENCE = 5000;

/** The thread that a program runs in. */
export interface Thread {
  /** Whether it is a Worker, which may wait. */
  readonly worker: boolean;
  /** Calls `listener` with each message of the page, and returns what ends that. */
  listen(listener: (message: unknown) => void): () => void;
}

interface NodePort {
  on(event: "message", listener: (message: unknown) => void): void;
  off(event: "message", listener: (message: unknown) => void): void;
}

/** What `node:worker_threads` has. */
export interface NodeThreads {
  readonly isMainThread: boolean;
  readonly parentPort: NodePort | null;
}

export function nodeThread({ isMainThread, parentPort }: NodeThreads): Thread {
  return {
    worker: !isMainThread,
    listen(listener) {
      parentPort?.on("message", listener);
      return () => parentPort?.off("message", listener);
    },
  };
}

export function browserThread(): Thread {
  return {
    worker: typeof document === "undefined" && "importScripts" in globalThis,
    listen(listener) {
      const take = ({ data }: MessageEvent): void => listener(data);
      addEventListener("message", take);
      return () => removeEventListener("message", take);
    },
  };
}

/** Why a program has no network, and what to do. */
export function explainAbsence(thread: Thread): string {
  if (typeof SharedArrayBuffer === "undefined") {
    return (
      "there is no SharedArrayBuffer: serve the page with Cross-Origin-Opener-Policy: same-origin and " +
      "Cross-Origin-Embedder-Policy: require-corp"
    );
  }
  if (!thread.worker) {
    return "sockets block, and this thread may not: run the program in a Worker, and hand it to net.attach(worker)";
  }
  return "the program has no network: call net.attach(worker) before it opens a socket";
}

/** What `net.attach()` has put into a message, or into what a program was started with. */
export function attachmentOf(message: unknown): Attachment | undefined {
  return (message as { webtun?: Attachment } | null | undefined)?.webtun;
}

/** Calls `attach` once, with what the page sends; meanwhile `warn` is told what is waited for. */
export function awaitMessage(
  thread: Thread, attach: (attachment: Attachment) => void, warn: (text: string) => void,
): void {
  const timer = setTimeout(() => warn(`still waiting; ${explainAbsence(thread)}`), PATIENCE);
  const end = thread.listen((message) => {
    const attachment = attachmentOf(message);
    if (attachment === undefined) return;
    clearTimeout(timer);
    end();
    attach(attachment);
  });
}
