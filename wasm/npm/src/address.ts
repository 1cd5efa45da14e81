/**
 * IP addresses as text and as 32-bit words, the form in which they leave the WebAssembly stack.
 */

/** `"ipv4"` or `"ipv6"`, in the words of the Direct Sockets text. */
export type IpFamily = "ipv4" | "ipv6";

/** An address and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

function isIPv4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

function isIPv6(text: string): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  let groups = 0;
  const sides = halves.map((half) => (half === "" ? [] : half.split(":")));
  const last = sides.at(-1);
  for (const side of sides) {
    for (const [index, group] of side.entries()) {
      if (group.includes(".")) {
        if (side !== last || index !== side.length - 1 || !isIPv4(group)) return false;
        groups += 2;
      } else if (/^[0-9a-f]{1,4}$/i.test(group)) {
        groups += 1;
      } else {
        return false;
      }
    }
  }
  return halves.length === 2 ? groups < 8 : groups === 8;
}

/** The family of an IP literal, or `undefined` where the text is a name. Brackets around IPv6 are accepted. */
export function literalFamily(host: string): IpFamily | undefined {
  const text = stripBrackets(host);
  if (isIPv4(text)) return "ipv4";
  return isIPv6(text) ? "ipv6" : undefined;
}

/** The IPv4 address that an IPv4-mapped one stands for (RFC 4291 section 2.5.5.2); any other address as it is. */
export function unmapped(address: string): string {
  if (literalFamily(address) !== "ipv6") return address;
  const [, high, low] = /^\[::ffff:([0-9a-f]+):([0-9a-f]+)\]$/.exec(new URL(`http://[${address}]`).hostname) ?? [];
  if (high === undefined || low === undefined) return address;
  return formatIPv4(((parseInt(high, 16) << 16) | parseInt(low, 16)) >>> 0);
}

/** `[::1]` and `::1` name the same host. */
export function stripBrackets(host: string): string {
  return host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
}

/** What a URL would not take for a part of the host. */
const NO_HOST = /[\0-\x20\s/\\?#@:%]/;

/**
 * A name as the DNS has it: one in another script becomes A-labels (UTS 46), by the tables that the platform has for
 * URLs. `undefined` where there is no such name.
 */
export function asciiName(name: string): string | undefined {
  if (/^[\0-\x7f]*$/.test(name)) return name;
  if (NO_HOST.test(name)) return undefined;
  try {
    return new URL(`http://${name}`).hostname;
  } catch {
    return undefined;
  }
}

/** True for the address that means "all of mine": `0.0.0.0`, `::` and its longer spellings. */
export function isUnspecified(address: string): boolean {
  return /^[0:.]+$/.test(stripBrackets(address)) && literalFamily(address) !== undefined;
}

/** The local end of what is not bound yet, of the family of `remote`. */
export function unspecifiedFor({ address }: Endpoint): Endpoint {
  return { address: literalFamily(address) === "ipv6" ? "::" : "0.0.0.0", port: 0 };
}

function formatIPv4(word: number): string {
  return [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255].join(".");
}

function formatIPv6(groups: readonly number[]): string {
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at < 0) return hex.join(":");
  return `${hex.slice(0, best.at).join(":")}::${hex.slice(best.at + best.length).join(":")}`;
}

/**
 * Formats an address from words (RFC 5952 for IPv6).
 *
 * @param family - 4 or 6
 * @param words - the address in network order; one word for IPv4, four for IPv6
 */
export function formatAddress(family: number, words: ArrayLike<number>): string {
  if (family === 4) return formatIPv4(words[0] ?? 0);
  const groups: number[] = [];
  for (let i = 0; i < 4; i++) {
    const word = words[i] ?? 0;
    groups.push(word >>> 16, word & 0xffff);
  }
  return formatIPv6(groups);
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return address.includes(":") ? `[${stripBrackets(address)}]:${port}` : `${address}:${port}`;
}
