import { within } from "../client/context.mjs";
import { Echo } from "../client/echo.mjs";

export const about = "the stack runs in a Worker, in the page, in the program's own Worker, and in one below that";
// Node has one way only, in which all other scenarios run.
export const where = ["chromium"];

export default async function (t) {
  const times = [];
  for (const worker of [undefined, true, false, "/webtun/worker.js"]) {
    const net = await t.open({ worker });
    const echo = await Echo.open(net);
    times.push(await echo.round(1 << 20));
    await echo.close();
    await net.close();
    t.equal(net.status.state, "closed", "the state after close()");
  }
  for (const worker of [undefined, true, false]) times.push(await inOwnWorker(t, { worker }));
  return times.map((time) => `${time.toFixed(0)} ms`).join(", ");
}

async function inOwnWorker(t, options) {
  const worker = new Worker("/client/echo-worker.mjs", { type: "module" });
  const answer = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`the Worker failed: ${message}`));
  });
  worker.postMessage({ url: t.url(), options });
  const { time, error } = await within(answer, `the Worker with worker: ${options.worker}`);
  worker.terminate();
  t.check(error === undefined, error);
  return time;
}
