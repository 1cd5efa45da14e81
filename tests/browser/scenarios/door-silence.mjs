import { attemptBy, DOORS } from "../client/doors.mjs";

export const about = "a destination that never answers is told by each door in its own words";
export const where = ["chromium"];
export const deadline = 90;

const NEVER = "blackhole.playground.test";
/** Wisp's reason of a CLOSE, the code of a WebSocket, and the reply of RFC 1928 (TTL expired). */
const WORDS = { "/tcp/": "4504", SOCKS: "5,6,0,1", "/wisp/ TCP": "0x43" };

export default async function (t) {
  const doors = DOORS.filter((door) => door in WORDS);
  const attempts = doors.map((door) => attemptBy(door, t.url(), { host: NEVER, port: 80, token: "any", patience: 60_000 }));
  const outcomes = await Promise.all(attempts);
  doors.forEach((door, index) => t.equal(outcomes[index], WORDS[door], door));
  return `${doors.length} doors`;
}
