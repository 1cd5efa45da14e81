/** Endpoints as words in shared memory. */
import { formatAddress, literalFamily, stripBrackets, type Endpoint } from "../address.js";
import { ENDPOINT_WORDS } from "./layout.js";

/** The 16-bit groups of an IPv6 literal; a dotted tail counts for two. */
function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const word = ipv4Word(group);
    return [word >>> 16, word & 0xffff];
  });
}

function ipv4Word(text: string): number {
  return text.split(".").reduce((word, part) => ((word << 8) | Number(part)) >>> 0, 0);
}

/** The words of an address: one for IPv4, four for IPv6, none for what is no address. */
export function addressWords(text: string): number[] {
  const address = stripBrackets(text);
  const family = literalFamily(address);
  if (family === undefined) return [];
  if (family === "ipv4") return [ipv4Word(address)];
  const [left = "", right] = address.split("::");
  const head = groupsOf(left);
  const tail = right === undefined ? [] : groupsOf(right);
  const groups = [...head, ...new Array<number>(Math.max(0, 8 - head.length - tail.length)).fill(0), ...tail];
  return [0, 2, 4, 6].map((at) => (((groups[at] ?? 0) << 16) | (groups[at + 1] ?? 0)) >>> 0);
}

/** Writes an endpoint at `at`. */
export function putEndpoint(words: Int32Array, at: number, { address, port }: Endpoint): void {
  const parts = addressWords(address);
  words.fill(0, at, at + ENDPOINT_WORDS);
  words[at] = parts.length === 0 ? 0 : parts.length === 1 ? 4 : 6;
  words[at + 1] = port;
  for (const [index, part] of parts.entries()) words[at + 2 + index] = part;
}

/** Reads the endpoint at `at`; `undefined` where there is none. */
export function takeEndpoint(words: Int32Array, at: number): Endpoint | undefined {
  const family = words[at] ?? 0;
  if (family !== 4 && family !== 6) return undefined;
  const parts = [...words.subarray(at + 2, at + ENDPOINT_WORDS)].map((part) => part >>> 0);
  return { address: formatAddress(family, parts), port: words[at + 1] ?? 0 };
}
