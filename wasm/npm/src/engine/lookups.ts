/**
 * Names on their way to an address. Equal questions share one lookup, and what is beyond the resolver's own bound waits
 * its turn instead of failing: a page may open a thousand sockets in one go.
 */
import type { IpFamily } from "../address.js";
import { failureOf } from "./codes.js";
import { addressesAt, word } from "./events.js";
import type { Callback, Outcome } from "./names.js";
import type { Stack } from "./stack.js";

/** Lookups at a time; the stack's resolver takes more, but its sockets are better spent elsewhere. */
const MAX_RUNNING = 128;

interface Lookup {
  readonly key: string;
  readonly name: string;
  readonly family: IpFamily | undefined;
  readonly callbacks: Set<Callback<string[]>>;
}

export class Lookups {
  readonly #stack: Stack;
  /** By question, waiting and running. */
  readonly #open = new Map<string, Lookup>();
  /** By the stack's number. */
  readonly #running = new Map<number, Lookup>();
  /** In the order of their asking. */
  readonly #waiting = new Set<Lookup>();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** Asks; returns a function that takes the question back. */
  ask(name: string, family: IpFamily | undefined, callback: Callback<string[]>): () => void {
    const key = `${family ?? "any"} ${name.toLowerCase()}`;
    let lookup = this.#open.get(key);
    if (lookup === undefined) {
      lookup = { key, name, family, callbacks: new Set() };
      this.#open.set(key, lookup);
      this.#waiting.add(lookup);
    }
    lookup.callbacks.add(callback);
    this.#advance();
    const asked = lookup;
    return () => this.#withdraw(asked, callback);
  }

  /** Takes a `Resolved` event of the stack. */
  handleEvent(words: Uint32Array): void {
    const id = word(words, 0);
    const lookup = this.#running.get(id);
    if (lookup === undefined) return;
    this.#running.delete(id);
    this.#open.delete(lookup.key);
    const code = word(words, 1);
    const outcome: Outcome<string[]> =
      code === 0 ? { value: addressesAt(words, 3, word(words, 2)) } : { failure: failureOf(code) };
    for (const callback of lookup.callbacks) callback(outcome);
    this.#advance();
  }

  #withdraw(lookup: Lookup, callback: Callback<string[]>): void {
    if (!lookup.callbacks.delete(callback) || lookup.callbacks.size > 0) return;
    if (this.#open.get(lookup.key) === lookup) this.#open.delete(lookup.key);
    this.#waiting.delete(lookup);
    for (const [id, running] of this.#running) {
      if (running !== lookup) continue;
      this.#running.delete(id);
      this.#stack.cancelResolve(id);
    }
    this.#advance();
  }

  #advance(): void {
    for (const lookup of this.#waiting) {
      if (this.#running.size >= MAX_RUNNING) return;
      this.#waiting.delete(lookup);
      this.#running.set(this.#stack.resolve(lookup.name, lookup.family), lookup);
    }
  }
}
