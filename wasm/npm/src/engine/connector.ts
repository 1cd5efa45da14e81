/**
 * Happy Eyeballs, RFC 8305: both families are asked for, their addresses are tried in turn a quarter of a second apart,
 * and the first connection wins.
 */
import { literalFamily, stripBrackets, type Endpoint, type IpFamily } from "../address.js";
import { failure, type ErrorCode, type Failure } from "../errors.js";
import type { TcpTuning } from "../link/protocol.js";
import { failureOf } from "./codes.js";
import type { Context, SocketOwner } from "./context.js";
import { endpointsAt, Kind, word } from "./events.js";
import type { Outcome } from "./names.js";

/** RFC 8305 section 3: how long the answer for IPv4 waits for that for IPv6. */
const RESOLUTION_DELAY = 50;

/** RFC 8305 section 5: the Connection Attempt Delay. */
const ATTEMPT_DELAY = 250;

/** Failures that say more about the tunnel than about the destination; others are reported first. */
const LOCAL: ReadonlySet<ErrorCode> = new Set(["EADDRNOTAVAIL", "EAFNOSUPPORT", "ENETUNREACH"]);

/** A connection that is established. */
export interface Connected {
  readonly id: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly family: IpFamily | undefined;
  readonly tuning: TcpTuning;
}

export class Connector implements SocketOwner {
  readonly #context: Context;
  readonly #destination: Destination;
  readonly #done: (outcome: Outcome<Connected>) => void;
  readonly #attempts = new Set<number>();
  readonly #found: Record<IpFamily, string[]> = { ipv6: [], ipv4: [] };
  readonly #queries = new Map<IpFamily, () => void>();
  readonly #failures: Failure[] = [];
  readonly #nameFailures: Failure[] = [];
  #next: IpFamily = "ipv6";
  #started = false;
  #cancelTimer: () => void = () => {};
  #over = false;

  /** @param done - called once, unless {@link cancel} comes first */
  constructor(context: Context, destination: Destination, done: (outcome: Outcome<Connected>) => void) {
    this.#context = context;
    this.#destination = destination;
    this.#done = done;
  }

  start(): void {
    const { host, family } = this.#destination;
    const literal = literalFamily(host);
    if (literal !== undefined && (family === undefined || family === literal)) {
      this.#found[literal].push(stripBrackets(host));
      return this.#attempt();
    }
    const families: IpFamily[] = family === undefined ? ["ipv6", "ipv4"] : [family];
    for (const each of families) this.#queries.set(each, () => {});
    for (const each of families) {
      const cancel = this.#context.names.resolve(host, each, (outcome) => this.#resolved(each, outcome));
      if (cancel !== undefined && this.#queries.has(each)) this.#queries.set(each, cancel);
    }
  }

  /** Gives everything up. */
  cancel(): void {
    this.#over = true;
    this.#cancelTimer();
    for (const cancel of this.#queries.values()) cancel();
    for (const id of this.#attempts) this.#context.forget(id);
    this.#attempts.clear();
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    const id = word(words, 0);
    if (this.#over || !this.#attempts.has(id)) return;
    if (kind === Kind.TcpConnected) {
      this.#attempts.delete(id);
      this.cancel();
      this.#done({ value: { id, ...endpointsAt(words, 1) } });
    } else if (kind === Kind.TcpConnectFailed || kind === Kind.TcpClosed) {
      this.#attempts.delete(id);
      this.#context.forget(id);
      this.#failures.push(failureOf(word(words, 1)));
      this.#attempt();
    }
  }

  #resolved(family: IpFamily, outcome: Outcome<string[]>): void {
    if (this.#over) return;
    this.#queries.delete(family);
    if ("failure" in outcome) this.#nameFailures.push(outcome.failure);
    else this.#found[family].push(...outcome.value);
    const waitsForIPv6 = family === "ipv4" && this.#queries.has("ipv6") && this.#found.ipv4.length > 0;
    if (this.#started) {
      if (this.#attempts.size === 0) this.#attempt();
    } else if (waitsForIPv6) {
      this.#cancelTimer = this.#context.after(RESOLUTION_DELAY, () => this.#attempt());
    } else {
      this.#attempt();
    }
  }

  /** The next address, alternating between the families (RFC 8305 section 4). */
  #take(): string | undefined {
    const other: IpFamily = this.#next === "ipv6" ? "ipv4" : "ipv6";
    const family = this.#found[this.#next].length > 0 ? this.#next : other;
    const address = this.#found[family].shift();
    if (address !== undefined) this.#next = family === "ipv6" ? "ipv4" : "ipv6";
    return address;
  }

  #attempt(): void {
    if (this.#over) return;
    this.#cancelTimer();
    for (let address = this.#take(); address !== undefined; address = this.#take()) {
      this.#started = true;
      const { port, tuning } = this.#destination;
      const id = this.#context.stack.connect({ address, port }, tuning);
      if (id >= 0) {
        this.#attempts.add(id);
        this.#context.own(id, this);
        this.#cancelTimer = this.#context.after(ATTEMPT_DELAY, () => this.#attempt());
        return;
      }
      this.#failures.push(failureOf(id));
    }
    if (this.#attempts.size === 0 && this.#queries.size === 0) this.#fail();
  }

  #fail(): void {
    this.#over = true;
    const cause =
      this.#failures.find(({ code }) => !LOCAL.has(code)) ??
      this.#failures[0] ??
      this.#nameFailures.find(({ code }) => code !== "ENOTFOUND") ??
      this.#nameFailures[0];
    this.#done({ failure: cause ?? failure("ENOTFOUND") });
  }
}
