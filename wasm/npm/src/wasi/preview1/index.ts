/** Sockets for modules of wasi_snapshot_preview1, in front of a shim for all the rest. */
import type { Channel } from "../../emscripten/control.js";
import { Context, type Import } from "./context.js";
import { fileImports } from "./files.js";
import { pollImport } from "./poll.js";
import { socketImports, type ByteOrder } from "./sockets.js";

/** What `@bjorn3/browser_wasi_shim` and `node:wasi` have in common; others of this shape do as well. */
export interface WasiShim {
  readonly wasiImport: object;
  /** Runs a program, and returns its exit status. */
  start(instance: never): unknown;
  /** Prepares a library (a "reactor"). */
  initialize?(instance: never): unknown;
}

export interface Preview1Options {
  /**
   * Makes `sock_connect` that of early experiments with WASI, `(ipv4, port, *fd)`, which has no `sock_open` before it.
   * The address is a number: `"network"` where it lies in memory as `in_addr` does (127.0.0.1 is 0x0100007f),
   * `"host"` where its first octet is the highest (0x7f000001).
   */
  minimalConnect?: ByteOrder | undefined;
}

/** A program's imports, and its start. */
export interface Preview1Program {
  /** For `WebAssembly.instantiate`. */
  readonly imports: { readonly wasi_snapshot_preview1: WebAssembly.ModuleImports };
  /** Runs the program to its end; returns its exit status. */
  start(instance: WebAssembly.Instance): number;
  /** Prepares a library, whose exports may be called after that. */
  initialize(instance: WebAssembly.Instance): void;
}

export function preview1(channel: Channel, shim: WasiShim, { minimalConnect }: Preview1Options): Preview1Program {
  const context = new Context(channel);
  const given = shim.wasiImport as Readonly<Record<string, Import>>;
  const all = {
    ...given,
    ...fileImports(context, given),
    poll_oneoff: pollImport(context, given["poll_oneoff"]),
    ...socketImports(context, minimalConnect),
  };
  return {
    imports: { wasi_snapshot_preview1: all as unknown as WebAssembly.ModuleImports },
    start(instance) {
      context.instance = instance;
      return Number(shim.start(instance as never) ?? 0);
    },
    initialize(instance) {
      context.instance = instance;
      shim.initialize?.(instance as never);
    },
  };
}
