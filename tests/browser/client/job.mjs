// One scenario, in whatever runs it: its result is posted to the harness.
import { Context } from "./context.mjs";

/** Runs the job's scenario with the `connect` of the package; `load` imports its other entries. */
export async function perform(job, connect, load) {
  const context = new Context(job, connect, load);
  let result;
  try {
    const { default: scenario } = await import(`../scenarios/${job.name}.mjs`);
    result = { value: await scenario(context) };
  } catch (error) {
    result = { error: describe(error) };
  }
  await context.finish();
  await fetch(`${job.site}/done/${job.id}`, { method: "POST", body: JSON.stringify(result) });
}

function describe(error) {
  if (!(error instanceof Error)) return String(error);
  const code = typeof error.code === "string" ? ` [${error.code}]` : "";
  const place = /scenarios\/([\w-]+\.mjs:\d+)/.exec(error.stack ?? "");
  return `${error.message}${code}${place ? ` (${place[1]})` : ""}`;
}
