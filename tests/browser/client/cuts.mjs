// Cuts the tunnel of a scenario again and again during a transfer.

/** How often. */
export const CUTS = 20;

export class Cuts {
  #context;
  #size;
  /** Cuts so far. */
  done = 0;

  /** For a transfer of `size` octets. */
  constructor(context, size) {
    this.#context = context;
    this.#size = size;
  }

  /** The transfer has come to `at`; cuts, where the next one is due. */
  async reached(at) {
    // One while the last one is still being mended finds no tunnel, and does not count.
    const isDue = at > ((this.done + 1) * this.#size) / (CUTS + 2);
    if (!this.finished && isDue) this.done += await this.#context.host("cut");
  }

  /** Whether all are done. */
  get finished() {
    return this.done >= CUTS;
  }
}
