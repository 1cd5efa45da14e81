// The playground's octets (see its README), made again here, and SHA-256 of what arrived.

/** Word `index` of the sequence: the 32-bit finalizer of MurmurHash3 over `index + 1`. */
function word(index) {
  let hash = (index + 1) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The first `size` octets of the sequence, or those from word `first` on. */
export function sequence(size, first = 0) {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let at = 0; at < words.length; at++) words[at] = word(first + at);
  return new Uint8Array(words.buffer, 0, size);
}

/** Where `octets` first differ from `expected`, or -1. */
export function firstDifference(octets, expected) {
  if (octets.length === expected.length && octets.every((octet, at) => octet === expected[at])) return -1;
  const at = octets.findIndex((octet, index) => octet !== expected[index]);
  return at < 0 ? Math.min(octets.length, expected.length) : at;
}

/** SHA-256 in hexadecimal digits. */
export async function sha256(octets) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", octets));
  return [...hash].map((octet) => octet.toString(16).padStart(2, "0")).join("");
}

/** Checks that `octets` are the whole sequence; says where they stop to be. */
export async function checkSequence(octets, expectedHash) {
  const hash = await sha256(octets);
  if (hash === expectedHash) return;
  const at = firstDifference(octets, sequence(octets.length));
  throw new Error(`the hash is ${hash}, and not ${expectedHash}; the first wrong octet is ${at} of ${octets.length}`);
}

/** `MiB/s` over the time since `start`. */
export function rate(octets, start) {
  const seconds = (performance.now() - start) / 1000;
  return `${(octets / 1048576 / seconds).toFixed(0)} MiB/s`;
}

/** Octets as MiB with a unit. */
export function mib(octets) {
  return `${(octets / 1048576).toFixed(octets < 10485760 ? 1 : 0)} MiB`;
}
