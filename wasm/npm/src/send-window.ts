/** How far a writer may be ahead of the stack. */

/** Octets; a datagram counts with its overhead. */
const SEND_WINDOW = 1024 * 1024;

export class SendWindow {
  readonly #stopped: () => boolean;
  #outstanding = 0;
  #waiting: (() => void) | undefined;

  /** @param stopped - whether the stream is over; {@link release} makes a writer look again */
  constructor(stopped: () => boolean) {
    this.#stopped = stopped;
  }

  /** Waits for room and takes it; what is larger than the window goes alone. False where the stream is over. */
  async take(amount: number): Promise<boolean> {
    const open = await this.#until(() => this.#outstanding === 0 || this.#outstanding + amount <= SEND_WINDOW);
    if (open) this.#outstanding += amount;
    return open;
  }

  /** Waits until the stack has taken everything. False where the stream is over. */
  empty(): Promise<boolean> {
    return this.#until(() => this.#outstanding === 0);
  }

  /** The stack has taken so much more. */
  sent(amount: number): void {
    this.#outstanding -= amount;
    this.release();
  }

  /** Wakes the writer, of which a stream has one at a time. */
  release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  async #until(reached: () => boolean): Promise<boolean> {
    while (!reached() && !this.#stopped()) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
    return !this.#stopped();
  }
}
