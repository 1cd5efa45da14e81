/** Requests that the stack answers by an event: names, pings and external ports. */
import { asciiName, literalFamily, stripBrackets, type Endpoint, type IpFamily } from "../address.js";
import { failure, type Failure } from "../errors.js";
import type { ExternalRequest } from "../link/protocol.js";
import { failureOf } from "./codes.js";
import { addressAt, endpointAt, Kind, word } from "./events.js";
import { Lookups } from "./lookups.js";
import type { Stack } from "./stack.js";

/** A value or a failure. */
export type Outcome<T> = { readonly value: T } | { readonly failure: Failure };

/** Called once; before the call that asked has returned only where the answer is known already. */
export type Callback<T> = (outcome: Outcome<T>) => void;

/** An answer to a ping. */
export interface PingReply {
  /** Who answered. */
  readonly address: string;
  /** Milliseconds. */
  readonly rtt: number;
  /** Octets of the payload. */
  readonly size: number;
  /** What is left of the hop limit. */
  readonly hopLimit: number;
}

export class Names {
  readonly #stack: Stack;
  readonly #lookups: Lookups;
  readonly #pings = new Map<number, Callback<PingReply>>();
  readonly #maps = new Map<number, Callback<Endpoint>>();

  constructor(stack: Stack) {
    this.#stack = stack;
    this.#lookups = new Lookups(stack);
  }

  /**
   * Asks for the addresses of a name. A literal is its own address and is answered at once.
   *
   * @returns a function that cancels, or `undefined` where the answer has been given already
   */
  resolve(given: string, family: IpFamily | undefined, callback: Callback<string[]>): (() => void) | undefined {
    const name = asciiName(given);
    if (name === undefined) {
      callback({ failure: failure("EINVAL") });
      return undefined;
    }
    const literal = literalFamily(name);
    if (literal !== undefined) {
      const fits = family === undefined || family === literal;
      callback(fits ? { value: [stripBrackets(name)] } : { failure: failure("ENOTFOUND") });
      return undefined;
    }
    return this.#lookups.ask(name, family, callback);
  }

  /** Resolves `host` and sends an ICMP echo request to the first of its addresses. */
  ping(host: string, family: IpFamily | undefined, size: number, timeout: number, callback: Callback<PingReply>): void {
    this.resolve(host, family, (outcome) => {
      if ("failure" in outcome) return callback(outcome);
      const address = this.reachable(outcome.value);
      if (address === undefined) return callback({ failure: failure("ENOTFOUND") });
      const id = this.#stack.ping(address, size, timeout);
      if (id < 0) return callback({ failure: failureOf(id) });
      this.#pings.set(id, callback);
    });
  }

  /** The first address of a family that the tunnel has an address of itself, or the first at all. */
  reachable(addresses: readonly string[]): string | undefined {
    const own = new Set(this.#stack.lease()?.addresses.map(literalFamily));
    return addresses.find((address) => own.has(literalFamily(address))) ?? addresses[0];
  }

  /** Asks for an external port; returns a function that gives it back. Called again where the mapping changes. */
  mapPort(protocol: 6 | 17, internal: number, external: ExternalRequest, callback: Callback<Endpoint>): () => void {
    const id = this.#stack.mapPort(protocol, external.family, internal, external.port, external.lifetime);
    this.#maps.set(id, callback);
    return () => {
      if (this.#maps.delete(id)) this.#stack.unmapPort(id);
    };
  }

  /** Takes an event of the stack; false where it is none of these. */
  handleEvent(kind: Kind, words: Uint32Array): boolean {
    switch (kind) {
      case Kind.Resolved:
        this.#lookups.handleEvent(words);
        return true;
      case Kind.Pong:
        this.#pong(words);
        return true;
      case Kind.PingFailed:
        this.#take(this.#pings, word(words, 0))?.({ failure: failureOf(word(words, 1)) });
        return true;
      case Kind.PortMapped:
        this.#mapped(words);
        return true;
      default:
        return false;
    }
  }

  #take<T>(map: Map<number, Callback<T>>, id: number): Callback<T> | undefined {
    const callback = map.get(id);
    map.delete(id);
    return callback;
  }

  #pong(words: Uint32Array): void {
    const reply: PingReply = {
      address: addressAt(words, 4),
      rtt: word(words, 1) / 1000,
      size: word(words, 3),
      hopLimit: word(words, 2),
    };
    this.#take(this.#pings, word(words, 0))?.({ value: reply });
  }

  #mapped(words: Uint32Array): void {
    const callback = this.#maps.get(word(words, 0));
    const external = endpointAt(words, 2);
    const failed = failureOf(word(words, 1));
    callback?.(external === undefined ? { failure: failed } : { value: external });
  }
}
