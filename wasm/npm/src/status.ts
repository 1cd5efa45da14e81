/** The state of the tunnel, with events. */
import type { Failure } from "./errors.js";
import type { TunnelEvent } from "./link/link.js";
import type { TunnelCounters, TunnelLease, TunnelState } from "./link/protocol.js";

/** Octets per second. */
export interface Rates {
  readonly sent: number;
  readonly received: number;
}

/** The events of {@link NetworkStatus}, by name. */
export interface NetworkStatusEventMap {
  /** The tunnel works (again). */
  connected: Event;
  /** The WebSocket is gone; sockets wait, and a new attempt is made after `retryIn` milliseconds. */
  reconnecting: Event;
  /** The tunnel has ended for good; `status.error` says why. */
  closed: Event;
  /** Counters, rates or the round-trip time have changed; at most once a second. */
  update: Event;
}

/**
 * The state of a tunnel.
 *
 * @example
 * net.status.addEventListener("reconnecting", () => console.log("waiting", net.status.retryIn, "ms"));
 */
export class NetworkStatus extends EventTarget {
  #state: TunnelState = "connecting";
  #lease: TunnelLease | undefined;
  #attempt = 0;
  #retryIn = 0;
  #error: Failure | undefined;
  #counters: TunnelCounters = { octetsSent: 0, octetsReceived: 0 };
  #rates: Rates = { sent: 0, received: 0 };
  #measured: number | undefined;

  /** `connecting`, `connected`, `reconnecting` or `closed`. */
  get state(): TunnelState {
    return this.#state;
  }

  /** The inner addresses of this tunnel, IPv4 and IPv6. */
  get addresses(): readonly string[] {
    return this.#lease?.addresses ?? [];
  }

  /** Everything the gateway has assigned: name servers, external ports, MTU. */
  get lease(): TunnelLease | undefined {
    return this.#lease;
  }

  /** While reconnecting: which attempt comes next. */
  get attempt(): number {
    return this.#attempt;
  }

  /** While reconnecting: milliseconds from the event to the next attempt. */
  get retryIn(): number {
    return this.#retryIn;
  }

  /** Why the tunnel has ended. */
  get error(): Failure | undefined {
    return this.#error;
  }

  /** Round-trip time to the gateway in milliseconds; `undefined` before the first measurement. */
  get rtt(): number | undefined {
    return this.#counters.rtt;
  }

  /** Octets that went through the WebSocket so far. */
  get counters(): TunnelCounters {
    return this.#counters;
  }

  /** Octets per second over the last interval. */
  get rates(): Rates {
    return this.#rates;
  }

  override addEventListener<K extends keyof NetworkStatusEventMap>(
    type: K,
    listener: ((this: NetworkStatus, event: NetworkStatusEventMap[K]) => void) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener as EventListener | EventListenerObject | null, options);
  }

  /** @internal */
  handleEvent(event: TunnelEvent): void {
    if (event.event === "counters") {
      this.#measure(event.counters);
      this.dispatchEvent(new Event("update"));
    } else if (event.event === "status") {
      const { state, lease, attempt = 0, retryIn = 0, failure } = event;
      this.#state = state;
      this.#lease = lease ?? this.#lease;
      this.#attempt = attempt;
      this.#retryIn = retryIn;
      this.#error = failure;
      if (state !== "connecting") this.dispatchEvent(new Event(state));
    }
  }

  #measure(counters: TunnelCounters): void {
    const now = performance.now();
    const last = this.#counters;
    this.#counters = counters;
    if (this.#measured !== undefined && now > this.#measured) {
      const seconds = (now - this.#measured) / 1000;
      this.#rates = {
        sent: (counters.octetsSent - last.octetsSent) / seconds,
        received: (counters.octetsReceived - last.octetsReceived) / seconds,
      };
    }
    this.#measured = now;
  }
}
