/** Starts an engine in this thread. */
import { openLocalChannel } from "../link/local-channel.js";
import type { Channel } from "../link/link.js";
import type { EngineConfig } from "../link/protocol.js";
import { compile } from "./compile.js";
import { Engine } from "./engine.js";
import { Stack } from "./stack.js";
import type { WebSocketFactory } from "./transport.js";

/** As it was when this was loaded: a program may have put another class in its place by the time of a reconnect. */
const PlatformWebSocket = globalThis.WebSocket;

/** The WebSocket of the platform. */
export const openPlatformWebSocket: WebSocketFactory = (url, protocols) => new PlatformWebSocket(url, protocols);

/** An engine that is not started yet, so that its first events find a listener. */
export function createEngine(module: WebAssembly.Module, config: EngineConfig, openWebSocket: WebSocketFactory): Engine {
  const seed = crypto.getRandomValues(new Uint8Array(32));
  const stack = new Stack(module, seed, () => performance.now());
  const engine = new Engine({ url: config.url, token: config.token, stack, openWebSocket });
  globalThis.addEventListener?.("online", () => engine.online());
  return engine;
}

/** Runs the engine here. */
export async function openInPlace(
  config: EngineConfig,
  fallbackWasm: () => NonNullable<EngineConfig["wasm"]> | Promise<NonNullable<EngineConfig["wasm"]>>,
  openWebSocket: WebSocketFactory = openPlatformWebSocket,
): Promise<Channel> {
  const module = await compile(config.wasm ?? (await fallbackWasm()));
  const engine = createEngine(module, config, openWebSocket);
  const channel = openLocalChannel(engine);
  setTimeout(() => engine.start());
  return channel;
}
