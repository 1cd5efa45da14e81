/** wasi:sockets/ip-name-lookup. */
import type { Channel } from "../../emscripten/control.js";
import { Errno } from "../../posix/errno.js";
import { ipAddress, type IpAddress } from "./addresses.js";
import { codeOf, fail } from "./errors.js";
import { Pollable } from "./io.js";

const FAILURES: Readonly<Record<number, string>> = {
  [Errno.ENOENT]: "name-unresolvable",
  [Errno.EAGAIN]: "temporary-resolver-failure",
  [Errno.ETIMEDOUT]: "temporary-resolver-failure",
};

export class ResolveAddressStream {
  readonly #channel: Channel;
  readonly #name: string;
  #addresses: string[] | undefined;

  constructor(channel: Channel, name: string) {
    if (name === "") fail("invalid-argument");
    this.#channel = channel;
    this.#name = name;
  }

  /** Waits for the answer, which comes as a whole. */
  resolveNextAddress(): IpAddress | undefined {
    this.#addresses ??= this.#resolve();
    const next = this.#addresses.shift();
    return next === undefined ? undefined : ipAddress(next);
  }

  subscribe(): Pollable {
    return new Pollable(this.#channel, () => true);
  }

  #resolve(): string[] {
    const failed = this.#channel.call({ op: "resolve", name: this.#name, family: 0 });
    if (failed !== 0) fail(FAILURES[failed] ?? codeOf(failed));
    return this.#channel.addresses;
  }
}
