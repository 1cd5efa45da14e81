/** Gives a program built by emcc, in a Worker of its own, the sockets of this tunnel. */
import { errnoOf } from "./posix/errno.js";
import { CONTROL_SIZE, Control, type Attachment } from "./posix/layout.js";
import type { Link } from "./link/link.js";
import type { NetworkStatus } from "./status.js";

/** A Worker of a browser, or of `node:worker_threads`. */
export interface ProgramWorker {
  postMessage(message: unknown, transfer: MessagePort[]): void;
}

function sharedMemory(): SharedArrayBuffer {
  if (typeof SharedArrayBuffer === "undefined") {
    throw new Error(
      "attach(): there is no SharedArrayBuffer. Serve the page with the headers " +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
    );
  }
  return new SharedArrayBuffer(CONTROL_SIZE);
}

/** See `Network.attach`. */
export function attachProgram(link: Link, status: NetworkStatus, worker: ProgramWorker): void {
  const control = sharedMemory();
  const words = new Int32Array(control);
  const down = (): void => {
    Atomics.store(words, Control.Down, errnoOf("ENETDOWN"));
    Atomics.add(words, Control.Event, 1);
    Atomics.notify(words, Control.Event);
  };
  if (link.dead !== undefined) down();
  status.addEventListener("closed", down, { once: true });
  const { port1, port2 } = new MessageChannel();
  link.post({ op: "program", attachment: { control, port: port1 } }, port1);
  worker.postMessage({ webtun: { control, port: port2 } satisfies Attachment }, [port2]);
}
