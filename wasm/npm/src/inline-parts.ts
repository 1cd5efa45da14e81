/** The Worker's script and the WebAssembly as parts of the program: no file beside it is needed. */
import { wasmBase64, workerSource } from "../generated/assets.js";
import type { Parts } from "./browser.js";
import { openInPlace } from "./engine/in-place.js";

function wasm(): ArrayBuffer {
  const text = atob(wasmBase64);
  const octets = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) octets[i] = text.charCodeAt(i);
  return octets.buffer;
}

function spawn(): Worker {
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  return new Worker(url, { type: "module" });
}

export const inlineParts: Parts = { spawn, wasm, inPlace: (config) => openInPlace(config, wasm) };
