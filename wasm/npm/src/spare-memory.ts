/** Memory that is used again, since a browser takes several times as long for fresh memory as for a copy. */

/** Of a buffer that is larger by so much than what is to be copied, the rest would be held for nothing. */
const WORTH_HOLDING = 4;

/** Keeps the memory of the octets that were of use last. */
export class SpareMemory {
  #spare: Uint8Array<ArrayBuffer> | undefined;

  /** Nobody looks at these octets any more. Their buffer is nobody else's. */
  keep(octets: Uint8Array): void {
    if (octets.buffer instanceof ArrayBuffer && octets.byteLength >= (this.#spare?.byteLength ?? 1)) {
      this.#spare = octets as Uint8Array<ArrayBuffer>;
    }
  }

  /** A copy with a buffer of its own. */
  copy(octets: Uint8Array): Uint8Array<ArrayBuffer> {
    const spare = this.#spare;
    const length = octets.byteLength;
    if (spare === undefined || length > spare.byteLength || length * WORTH_HOLDING < spare.buffer.byteLength) {
      return octets.slice() as Uint8Array<ArrayBuffer>;
    }
    this.#spare = undefined;
    const copy = spare.subarray(0, length);
    copy.set(octets);
    return copy;
  }
}
