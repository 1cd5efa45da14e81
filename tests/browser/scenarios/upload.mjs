import { expectedHash, put } from "../client/http.mjs";
import { mib, rate, sequence } from "../client/octets.mjs";

export const about = "a large upload has the same SHA-256 at both ends, whatever the pieces";
export const egress = true;
export const deadline = 120;

/** The sizes of pieces: of usual streams, and one that fits into nothing. */
const PIECES = [65536, 100_003];

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, t.size);
  const body = sequence(t.size);
  const speeds = [];
  for (const piece of PIECES) {
    const start = performance.now();
    const { octets, sha256 } = await put(net, body, piece);
    speeds.push(rate(t.size, start));
    t.equal(octets, t.size, `octets that arrived in pieces of ${piece}`);
    t.equal(sha256, expected, `the hash of pieces of ${piece}`);
  }
  return `${mib(t.size)} twice, ${speeds.join(" and ")}`;
}
