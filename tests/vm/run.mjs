// Real guests behind the gateway of `cargo xtask demo --run`: see README.md.
import { parseArgs } from "node:util";
import { CASES } from "./cases.mjs";
import { CHECKS } from "./checks.mjs";
import { meet } from "./meeting.mjs";

const { values: options } = parseArgs({
  options: { full: { type: "boolean" }, case: { type: "string", short: "k", multiple: true } },
});

/** All guests, one after the other, and several at once. */
const ALL = [
  ...CASES.map((guest) => ({ ...guest, go: () => run(guest) })),
  { name: "meeting", go: () => meet(process.env.WEBTUN_URL, timed) },
];

function chosen() {
  if (!options.case) return ALL.filter((it) => options.full || !it.full);
  const unknown = options.case.find((name) => !ALL.some((it) => it.name === name));
  if (unknown) throw new Error(`no guest is called ${unknown}; there are ${ALL.map((it) => it.name).join(", ")}`);
  return ALL.filter((it) => options.case.includes(it.name));
}

async function timed(label, job) {
  const start = performance.now();
  const line = (word, text) =>
    console.log(`${word.padEnd(6)} ${label.padEnd(28)} ${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s  ${text}`);
  try {
    const { words, value } = await job();
    line("ok", words ?? "");
    return value;
  } catch (error) {
    line("FAILED", error.message);
    throw error;
  }
}

/** Runs a guest through all checks; what fails at first is why the rest is not tried. */
async function run(guest) {
  const { name, nic, mtu, checks = CHECKS } = guest;
  const gateway = process.env.WEBTUN_URL;
  const how = await guest.how(gateway);
  const running = await timed(`${name} start`, async () => ({ value: await guest.start({ nic, mtu, gateway, ...how }) }));
  try {
    for (const [check, holds] of Object.entries(checks)) {
      await timed(`${name} ${check}`, async () => ({ words: await holds({ ...how, ...running, name, nic, mtu }) }));
    }
  } finally {
    await running.stop();
    how.net?.close();
    await how.proxy?.close();
  }
}

let failed = 0;
for (const guest of chosen()) await guest.go().catch(() => failed++);
console.log(failed === 0 ? "all guests have what they need" : `${failed} guests have failed`);
process.exit(failed === 0 ? 0 : 1);
