/** How a browser runs the engine: in a Worker where it can, in this thread where it must or shall. */
import type { ConnectOptions, Platform } from "./connect.js";
import type { Channel } from "./link/link.js";
import type { EngineConfig } from "./link/protocol.js";
import { openWorkerChannel } from "./link/worker-channel.js";

/** Where an entry point finds its parts. */
export interface Parts {
  /** Starts the Worker's script; absent where only the caller knows where it is. */
  spawn?: () => Worker;
  /** Runs the engine here. */
  inPlace(config: EngineConfig): Promise<Channel>;
  /** The compiled stack's octets, for a Worker that cannot fetch them. */
  wasm?: () => ArrayBuffer;
  /** The second way, where the first fails: parts that need no file beside the script. */
  fallback?: () => Promise<Parts>;
}

function inWorker(): boolean {
  return typeof document === "undefined";
}

/** A page may not start a Worker of another origin, but a Worker of its own may import the script. */
export function spawnWorker(url: string | URL): Worker {
  const { href, origin } = new URL(url, location.href);
  if (origin === location.origin || href.startsWith("blob:")) return new Worker(href, { type: "module" });
  const blob = new Blob([`import ${JSON.stringify(href)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(blob), { type: "module" });
}

async function open(parts: Parts, config: EngineConfig, { worker }: ConnectOptions): Promise<Channel> {
  if (typeof worker === "string" || worker instanceof URL) return openWorkerChannel(spawnWorker(worker), config);
  const here = worker === false || (worker === undefined && inWorker());
  if (here || parts.spawn === undefined) return parts.inPlace(config);
  const wasm = config.wasm ?? parts.wasm?.();
  return openWorkerChannel(parts.spawn(), { ...config, ...(wasm !== undefined && { wasm }) });
}

/** Tries the parts, then their fallback, then the fallback in this thread: some way works under every bundler. */
export function browserPlatform(parts: Parts): Platform {
  return {
    async openChannel(config, options) {
      try {
        return await open(parts, config, options);
      } catch (error) {
        const chosen = typeof options.worker === "string" || options.worker instanceof URL;
        if (parts.fallback === undefined || chosen) throw error;
      }
      const spare = await parts.fallback();
      try {
        return await open(spare, config, options);
      } catch (error) {
        if (options.worker === true) throw error;
        return spare.inPlace(config);
      }
    },
  };
}
