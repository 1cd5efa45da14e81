/** What an edge-triggered epoll goes by; see `Source.edges`. */

/** Counts how often there is room for sending again, after there was none. */
export class Refills {
  /** There was no room for what was to be sent, and nobody has seen room since. */
  full = false;
  #count = 0;

  count(hasRoom: boolean): number {
    if (this.full && hasRoom) {
      this.full = false;
      this.#count += 1;
    }
    return this.#count;
  }
}

/** One number for all of it: the arrivals in the lower 32 bits, at most 20 more above them. */
export function edgesOf(arrived: number, refills: number, state: number, flags: readonly boolean[]): number {
  const bits = flags.reduce((sum, flag, index) => sum | (flag ? 4 << index : 0), state);
  return (arrived >>> 0) + 2 ** 32 * (bits | ((refills & 0xfff) << 8));
}
