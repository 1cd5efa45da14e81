/** The Worker's script: an engine whose channel is `postMessage`. */
import { compile } from "./engine/compile.js";
import { createEngine, openPlatformWebSocket } from "./engine/in-place.js";
import { wordsOf } from "./errors.js";
import type { Command, EngineConfig } from "./link/protocol.js";
import type { WorkerGreeting } from "./link/worker-channel.js";

/** The part of the Worker's global object that is used. */
interface Scope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
}

const scope = globalThis as unknown as Scope;

async function begin(config: EngineConfig): Promise<void> {
  const module = await compile(config.wasm ?? new URL("./webtun_bg.wasm", import.meta.url).href);
  const engine = createEngine(module, config, openPlatformWebSocket);
  engine.onevents = (events, transfer) => scope.postMessage(events, transfer);
  scope.onmessage = ({ data }: MessageEvent<Command[]>) => engine.handleCommands(data);
  scope.postMessage({ ready: true } satisfies WorkerGreeting);
  engine.start();
}

scope.onmessage = ({ data }: MessageEvent<EngineConfig>) => {
  begin(data).catch((error: unknown) => {
    scope.postMessage({ broken: wordsOf(error) } satisfies WorkerGreeting);
  });
};
