/** Reports the counters of the tunnel once a second, and only when they have changed. */
import type { TunnelCounters } from "../link/protocol.js";
import type { Stack } from "./stack.js";

/** Milliseconds between two reports. */
const REPORT_INTERVAL = 1000;

export class Meter {
  readonly #stack: Stack;
  readonly #report: (counters: TunnelCounters) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #last: TunnelCounters = { octetsSent: 0, octetsReceived: 0 };
  #quiet = false;

  constructor(stack: Stack, report: (counters: TunnelCounters) => void) {
    this.#stack = stack;
    this.#report = report;
    this.#timer = setInterval(() => this.#look(), REPORT_INTERVAL);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One report more after the last change, so that rates computed from two of them fall to zero. */
  #look(): void {
    const { sent: octetsSent, received: octetsReceived } = this.#stack.octets();
    const rtt = this.#stack.rtt();
    const last = this.#last;
    const same = octetsSent === last.octetsSent && octetsReceived === last.octetsReceived && rtt === last.rtt;
    if (same && this.#quiet) return;
    this.#quiet = same;
    this.#last = { octetsSent, octetsReceived, ...(rtt !== undefined && { rtt }) };
    this.#report(this.#last);
  }
}
