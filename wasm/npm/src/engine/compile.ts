/** Compiles WebAssembly wherever it comes from. */
import type { EngineConfig } from "../link/protocol.js";

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
