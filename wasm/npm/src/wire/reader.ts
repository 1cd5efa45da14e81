/** The fields that capsule values are made of (section 3 of the specification). */
import { formatAddress } from "../address.js";

/** The rule that a message breaks, in the words of the golden vectors. */
export type Problem =
  | "truncated"
  | "short"
  | "trailing"
  | "ip_version"
  | "prefix_length"
  | "range"
  | "text"
  | "value"
  | "empty";

/** A message that is not well-formed. */
export class WireError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`malformed message: ${problem}`);
    this.name = "WireError";
    this.problem = problem;
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Takes fields off the front of a capsule's value. */
export class Reader {
  readonly #octets: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(octets: Uint8Array) {
    this.#octets = octets;
    this.#view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  }

  get empty(): boolean {
    return this.#at === this.#octets.length;
  }

  /** How far it has come, in octets. */
  get offset(): number {
    return this.#at;
  }

  #advance(length: number): number {
    if (length > this.#octets.length - this.#at) throw new WireError("short");
    const at = this.#at;
    this.#at += length;
    return at;
  }

  take(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#octets.subarray(at, at + length);
  }

  rest(): Uint8Array {
    return this.take(this.#octets.length - this.#at);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8));
  }

  /** An octet that is 0 or 1. */
  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new WireError("value");
    return value === 1;
  }

  /** A variable-length integer (RFC 9000 section 16). */
  varint(): bigint {
    const first = this.u8();
    let value = BigInt(first & 0x3f);
    for (const octet of this.take((1 << (first >> 6)) - 1)) value = (value << 8n) | BigInt(octet);
    return value;
  }

  /** A length as a variable-length integer, then as many octets. */
  prefixed(): Uint8Array {
    const length = this.varint();
    return this.take(length > BigInt(this.#octets.length) ? Infinity : Number(length));
  }

  /** As {@link prefixed}, UTF-8. */
  text(): string {
    const octets = this.prefixed();
    try {
      return UTF8.decode(octets);
    } catch {
      throw new WireError("text");
    }
  }

  /** 4 or 6. */
  version(version = this.u8()): number {
    if (version !== 4 && version !== 6) throw new WireError("ip_version");
    return version;
  }

  /** An address of a version that is known. */
  ip(version: number): string {
    const words = Array.from({ length: version === 4 ? 1 : 4 }, () => this.u32());
    return formatAddress(version, words);
  }

  /** A version, unless it is known, and an address. */
  address(version?: number): string {
    return this.ip(this.version(version));
  }

  /** As many items as there are octets for. */
  list<T>(item: () => T): T[] {
    const items: T[] = [];
    while (!this.empty) items.push(item());
    return items;
  }

  /** Calls `item` as often as a variable-length integer says. */
  counted(item: () => void): void {
    for (let left = this.varint(); left > 0n; left--) item();
  }

  finish(): void {
    if (!this.empty) throw new WireError("trailing");
  }
}
