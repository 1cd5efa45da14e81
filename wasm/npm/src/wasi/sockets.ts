/** The sockets of a WASI program, and how it comes to them. */
import { Channel } from "../emscripten/control.js";
import { attachmentOf, awaitMessage, explainAbsence, type Thread } from "../posix/attachment.js";
import type { Attachment } from "../posix/layout.js";
import { preview2, type Interfaces, type Preview2Options } from "./preview2/index.js";
import { preview1, type Preview1Options, type Preview1Program, type WasiShim } from "./preview1/index.js";

export interface WasiOptions {
  /** What `net.attach()` has sent, where a listener of the program's own has got it: `event.data.webtun`. */
  webtun?: unknown;
}

/** The sockets of one program, in the Worker that it runs in. */
export class WasiSockets {
  readonly #channel: Channel;

  /** @internal */
  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Puts sockets in front of a shim for wasi_snapshot_preview1. One program has one. */
  preview1(shim: WasiShim, options: Preview1Options = {}): Preview1Program {
    return preview1(this.#channel, shim, options);
  }

  /**
   * Puts wasi:sockets, and the pollables, streams and clock that belong to it, in front of a shim's interfaces, for
   * components made into modules by jco.
   */
  preview2(shim: Interfaces, options: Preview2Options = {}): Interfaces {
    return preview2(this.#channel, shim, options);
  }
}

function warn(text: string): void {
  console.warn(`webtun: ${text}`);
}

/** Waits for `net.attach(worker)`; `warn`s after 5 s. Rejects where no program can have sockets. */
export async function openSockets(thread: Thread, { webtun }: WasiOptions): Promise<WasiSockets> {
  if (typeof SharedArrayBuffer === "undefined" || !thread.worker) {
    throw new Error(`webtun: ${explainAbsence(thread)}`);
  }
  const given = attachmentOf({ webtun });
  const attachment = given ?? (await new Promise<Attachment>((attach) => awaitMessage(thread, attach, warn)));
  return new WasiSockets(new Channel(attachment, warn));
}
