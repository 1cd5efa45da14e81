/** Starts an engine in this thread. */
import { openLocalChannel } from "../link/local-channel.js";
import type { Channel } from "../link/link.js";
import type { EngineConfig } from "../link/protocol.js";
import { Engine } from "./engine.js";
import { Stack } from "./stack.js";
import type { WebSocketFactory } from "./transport.js";

/** The WebSocket of the platform. */
export const openPlatformWebSocket: WebSocketFactory = (url, protocols) => new WebSocket(url, protocols);

async function fetchModule(url: string): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  if (response.headers.get("content-type")?.startsWith("application/wasm")) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Compiles what `source` names. */
export async function compile(source: NonNullable<EngineConfig["wasm"]>): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  return typeof source === "string" ? fetchModule(source) : WebAssembly.compile(source);
}

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
