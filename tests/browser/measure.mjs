// One measurement in Chromium, as `cargo xtask bench` wants it: a line `FIGURE VALUE` for each figure.
//
//   node measure.mjs NAME [ARGUMENT ...]     NAME.mjs is in ./measures and says what its arguments are; its programs are built
//   node measure.mjs --build NAME            only builds the programs that it needs, some of whose sources come from Debian
//
// Environment: WEBTUN_URL the gateway, WEBTUN_TOKEN its token, WEBTUN_RELAY where `bench_relay` is, for measures that use it.
import path from "node:path";
import { gatewayUrl } from "./harness/options.mjs";
import { buildProgram } from "./harness/programs.mjs";
import { loadScenarios, Runner } from "./harness/runner.mjs";

const folder = path.join(import.meta.dirname, "measures");
/** Seconds, of a machine that has more to do than this. */
const DEADLINE = 170;

async function find(name) {
  const measure = (await loadScenarios([name], { folder })).find((each) => each.name === name);
  if (measure === undefined) throw new Error(`there is no measure called ${name}`);
  return measure;
}

async function main([name, ...args]) {
  if (name === "--build") {
    for (const program of (await find(args[0])).programs) await buildProgram(program);
    return;
  }
  const measure = await find(name);
  const runner = new Runner(gatewayUrl(), folder);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
  process.on("exit", () => runner.closeNow());
  await runner.open();
  const given = { args: args.map(Number), token: process.env.WEBTUN_TOKEN, relay: process.env.WEBTUN_RELAY };
  const figures = await runner.run({ ...measure, programs: false, deadline: DEADLINE }, "chromium", given);
  await runner.close();
  for (const [figure, value] of Object.entries(figures)) console.log(`${figure} ${value}`);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
