// What must hold, end to end: scenarios in Chromium (or Node), through the real gateway and its TUN device, or its sockets.
import { gatewayUrl, readOptions, USAGE } from "./harness/options.mjs";
import { loadScenarios, Runner } from "./harness/runner.mjs";

/** Scenarios of a run that may pass at their second try: each is named, and with more there is a fault that shows often. */
const UNSTEADY = 2;

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return console.log(USAGE);
  const { egress, full, list } = options;
  const scenarios = await loadScenarios(options.names, { everything: full || list, egress });
  if (options.list) return scenarios.forEach(({ name, about }) => console.log(`${name.padEnd(20)} ${about}`));
  if (scenarios.length === 0) throw new Error(`no scenario is called ${options.names.join(" or ")}; see --list`);

  const runner = new Runner(gatewayUrl());
  // A second signal must not end this process before it has tidied up.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
  process.on("exit", () => runner.closeNow());
  await runner.open();
  const { passed, failed } = await runAll(runner, scenarios, options);
  await runner.close();
  console.log(`${passed} passed, ${failed} failed`);
  // With nothing run, nothing is known to hold.
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

async function runAll(runner, scenarios, options) {
  let passed = 0;
  let failed = 0;
  let unsteady = 0;
  for (const where of options.where) {
    for (const scenario of scenarios.filter((each) => each.where.includes(where))) {
      const label = where === "node" ? `${scenario.name} (node)` : scenario.name;
      const go = (failure) => runOne(label, () => runner.run(scenario, where, options), failure);
      let outcome = await go(unsteady < UNSTEADY ? "UNSTEADY" : "FAILED");
      if (outcome === "UNSTEADY") {
        unsteady++;
        outcome = await go("FAILED");
      }
      if (outcome === "ok") passed++;
      else failed++;
    }
  }
  return { passed, failed };
}

/** One line for how it ends: `ok`, or with why, what a failure is to be called. */
async function runOne(label, run, failure) {
  const start = performance.now();
  const line = (word, text) => console.log(`${word.padEnd(6)} ${label.padEnd(28)} ${seconds(start)}  ${text}`.trimEnd());
  try {
    line("ok", (await run()) ?? "");
    return "ok";
  } catch (error) {
    line(failure, error.message);
    return failure;
  }
}

function seconds(start) {
  return `${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s`;
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
