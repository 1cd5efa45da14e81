/** One timer that is set anew with each turn, and mostly to a later time. */

/** The longest that `setTimeout` can wait. */
const MAX_DELAY = 0x7fffffff;

/**
 * Calls back when its time has come, or earlier. A timer of the platform costs more than a call that finds nothing to do:
 * one that is under way stays as it is, unless it would be too late.
 */
export class Alarm {
  readonly #ring: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** By `performance.now()`, when the timer under way comes. */
  #at = Infinity;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Rings in at most so many milliseconds. */
  set(delay: number): void {
    const wait = Math.min(Math.max(0, Math.ceil(delay)), MAX_DELAY);
    const at = performance.now() + wait;
    if (this.#at <= at) return;
    this.stop();
    this.#at = at;
    this.#timer = setTimeout(() => {
      this.#at = Infinity;
      this.#ring();
    }, wait);
  }

  /** Rings no more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#at = Infinity;
  }
}
