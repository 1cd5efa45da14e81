// Runs the probe in a page and tells the runner's server how it went.
import { probe } from "./probe.js";

/** @param {typeof import("webtun").connect} connect */
export async function report(connect) {
  const config = await (await fetch("/config.json")).json();
  const result = await probe(connect, config).then(
    (detail) => ({ ok: true, detail }),
    (error) => ({ ok: false, detail: `${error?.name}: ${error?.message} (${error?.code})` }),
  );
  await fetch("/result", { method: "POST", body: JSON.stringify(result) });
}
