// One measurement in Chromium, as `cargo xtask bench` wants it: a line `FIGURE VALUE` for each figure.
//
//   node measure.mjs NAME [ARGUMENT ...]     NAME.mjs is in ./measures and says what its arguments are
//
// Environment: WEBTUN_URL the gateway, WEBTUN_TOKEN its token.
import path from "node:path";
import { gatewayUrl } from "./harness/options.mjs";
import { loadScenarios, Runner } from "./harness/runner.mjs";

const folder = path.join(import.meta.dirname, "measures");
/** Seconds, of a machine that has more to do than this. */
const DEADLINE = 170;

async function main([name, ...args]) {
  const measure = (await loadScenarios([name], folder)).find((each) => each.name === name);
  if (measure === undefined) throw new Error(`there is no measure called ${name}`);
  const runner = new Runner(gatewayUrl(), folder);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
  process.on("exit", () => runner.closeNow());
  await runner.open();
  const given = { args: args.map(Number), token: process.env.WEBTUN_TOKEN };
  const figures = await runner.run({ ...measure, deadline: DEADLINE }, "chromium", given);
  await runner.close();
  for (const [figure, value] of Object.entries(figures)) console.log(`${figure} ${value}`);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
