/** A {@link Channel} to an engine in a Worker. */
import { failure } from "../errors.js";
import type { Channel } from "./link.js";
import type { EngineConfig, EngineEvent } from "./protocol.js";

/** What the Worker says first: it is loaded, or why it cannot work. */
export type WorkerGreeting = { ready: true } | { broken: string };

/** Milliseconds that the last message of a tunnel has to leave the Worker. */
const TERMINATE_DELAY = 500;

/**
 * Waits until the script of `worker` runs, sends it `config`, and waits until the WebAssembly in it is compiled.
 * Rejects where the script cannot be loaded (a bundler that did not copy it, a policy that forbids it).
 */
export async function openWorkerChannel(worker: Worker, config: EngineConfig): Promise<Channel> {
  await new Promise<void>((resolve, reject) => {
    worker.onerror = (event) => {
      event.preventDefault?.();
      worker.terminate();
      reject(new Error(event.message || "the Worker's script cannot be loaded"));
    };
    worker.onmessage = ({ data }: MessageEvent<WorkerGreeting>) => {
      if ("broken" in data) {
        worker.terminate();
        reject(new Error(data.broken));
      } else {
        resolve();
      }
    };
    worker.postMessage(config);
  });
  const channel: Channel = {
    post: (commands, transfer) => worker.postMessage(commands, transfer),
    onevents: () => {},
    onfailure: () => {},
    terminate: () => setTimeout(() => worker.terminate(), TERMINATE_DELAY),
  };
  worker.onmessage = ({ data }: MessageEvent<EngineEvent[]>) => channel.onevents(data);
  worker.onerror = (event) => {
    event.preventDefault?.();
    channel.onfailure(failure("EIO", event.message || "the Worker failed"));
  };
  return channel;
}
