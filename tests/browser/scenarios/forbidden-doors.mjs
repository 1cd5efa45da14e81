import { attemptBy, DOORS } from "../client/doors.mjs";

export const about = "no special-purpose address is reached by /wisp/, /tcp/ or SOCKS, however written or named";
export const deadline = 180;
export const where = ["chromium"];
export const egress = true;
export const strict = true;
export const host = {
  reached: ({ reached }) => reached(),
  /** Of so many users, each of whom may have one session. */
  async tokens(_, count) {
    const { sign } = await import("../harness/strict-gateway.mjs");
    return Array.from({ length: count }, (_, number) => sign({ sub: `visitor ${number}` }));
  },
};

/** Attempts at once. */
const AT_ONCE = 6;
const OPEN = ["45.33.7.53", "2600:1f00::53", "2d210735.at.test"];

/** Attempts by each door besides: where it is open, and at two for each name that changes its mind. */
const TRIES = 20;

export default async function (t) {
  const table = await (await fetch(new URL("forbidden.json", import.meta.url))).json();
  const [shared, ...others] = await t.host("tokens", 2 * (table.destinations.length + TRIES));
  // A connection by Wisp is a session, and what others open is in one.
  const attempt = (door, host) => {
    const token = door.startsWith("/wisp/") ? others.pop() : shared;
    return attemptBy(door, t.url("strict"), { host, port: table.port, token });
  };
  const before = new Set(await t.host("reached"));
  for (const door of DOORS) {
    // Unless what is allowed gets there, nothing is shown by what does not.
    for (const host of OPEN) t.equal(await attempt(door, host), "reached: reached", `${door} to ${host}`);
    await rebind(t, door, attempt, table.rebinding);
  }
  await tryAll(t, attempt, table.destinations);
  const strangers = (await t.host("reached")).filter((each) => !before.has(each) && !OPEN.includes(each.replace("::ffff:", "")));
  t.equal(strangers.join(" "), "", "addresses that were reached");
  return `${table.destinations.length} destinations by ${DOORS.length} ways`;
}

async function tryAll(t, attempt, destinations) {
  // A datagram to the gateway's inner address is dropped, and nobody says so.
  const waysTo = ({ codes }) => DOORS.filter((door) => !codes || !door.endsWith(" UDP"));
  const waiting = destinations.flatMap((next) => waysTo(next).map((door) => ({ ...next, door })));
  const wrong = [];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { to, is, door, codes } = next;
      const outcome = await attempt(door, to);
      // What is no address and no name, or is never said outside, is refused with words of its own.
      const right = codes ? !/^reached|nothing for/.test(outcome) : outcome === "denied";
      if (!right) wrong.push(`${door} to ${to} (${is}): ${outcome}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  t.equal(wrong.join("; "), "", "what is wrong");
}

/** A name that is open when it is first asked for and then something else: judged is where a connection goes. */
async function rebind(t, door, attempt, rebinding) {
  for (const [index, hex] of rebinding.entries()) {
    const name = `${index}${Math.random().toString(36).slice(2)}-${hex}.rebind.test`;
    t.equal(await attempt(door, name), "reached: reached", `${door} to ${name} at first`);
    t.equal(await attempt(door, name), "denied", `${door} to ${name} thereafter`);
  }
}
