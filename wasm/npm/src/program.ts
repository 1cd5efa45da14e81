/** Gives a program built by emcc, in a Worker of its own, the sockets of this tunnel. */
import { errnoOf } from "./posix/errno.js";
import { CONTROL_SIZE, Control, type Attachment, type SharedMemory } from "./posix/layout.js";
import { localPorts } from "./posix/local-port.js";
import type { Link } from "./link/link.js";
import type { NetworkStatus } from "./status.js";

/** A Worker of a browser, or of `node:worker_threads`. */
export interface ProgramWorker {
  postMessage(message: unknown, transfer: MessagePort[]): void;
}

/** How a program is given its sockets. */
export interface ProgramOptions {
  /**
   * The ports at which it listens over TCP are mapped to ports of the same numbers outside, where the gateway grants them
   * (ports of the session's own block it does). With port 0 the program gets one of these.
   */
  external?: boolean | undefined;
  /**
   * TCP connections outwards are made by the gateway's own kernel where it does that, as those of `net.connect()` are: faster,
   * and better where packets are lost. `connect()` tells a failure as ever. False when not given: end to end.
   */
  split?: boolean | undefined;
}

function sharedMemory(): SharedArrayBuffer {
  if (typeof SharedArrayBuffer === "undefined") {
    throw new Error(
      "there is no SharedArrayBuffer. Serve the page with the headers Cross-Origin-Opener-Policy: same-origin and " +
        "Cross-Origin-Embedder-Policy: require-corp; or link the program with -sJSPI or -sASYNCIFY, open the tunnel by " +
        "connect(url, { worker: false }), and start the program in the page with net.attachment()",
    );
  }
  return new SharedArrayBuffer(CONTROL_SIZE);
}

/** What the engine has to know. */
function chosen({ external = false, split = false }: ProgramOptions): Pick<Attachment, "external" | "split"> {
  return { external: Boolean(external), split: Boolean(split) };
}

/** Lets the program know when the tunnel is gone. */
function watch(link: Link, status: NetworkStatus, control: SharedMemory, tell: () => void): void {
  const words = new Int32Array(control);
  const down = (): void => {
    Atomics.store(words, Control.Down, errnoOf("ENETDOWN"));
    Atomics.add(words, Control.Event, 1);
    Atomics.notify(words, Control.Event);
    tell();
  };
  if (link.dead !== undefined) down();
  status.addEventListener("closed", down, { once: true });
}

/** See `Network.attach`. */
export function attachProgram(link: Link, status: NetworkStatus, worker: ProgramWorker, options: ProgramOptions): void {
  const { attachment, port } = remoteAttachment(link, status, options);
  worker.postMessage({ webtun: attachment }, [port]);
}

/** See `Network.attachment`. */
export function attachmentHere(link: Link, status: NetworkStatus, options: ProgramOptions): { webtun: Attachment } {
  if (!link.takesOffers) return { webtun: remoteAttachment(link, status, options).attachment };
  const control = new ArrayBuffer(CONTROL_SIZE);
  const [engine, program] = localPorts();
  watch(link, status, control, () => engine.postMessage(undefined));
  link.post({ op: "program", attachment: { control, port: engine, local: true, ...chosen(options) } });
  return { webtun: { control, port: program, local: true } };
}

function remoteAttachment(
  link: Link, status: NetworkStatus, options: ProgramOptions,
): { attachment: Attachment; port: MessagePort } {
  const control = sharedMemory();
  watch(link, status, control, () => {});
  const { port1, port2 } = new MessageChannel();
  link.post({ op: "program", attachment: { control, port: port1, ...chosen(options) } }, port1);
  return { attachment: { control, port: port2 }, port: port2 };
}
