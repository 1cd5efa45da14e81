// Arguments: how many flows; seconds each way; 1 for connections that the gateway makes.
import { openTunnel, rates } from "../client/flows.mjs";

export const about = "how flows side by side share a tunnel";

const WARM_UP = 1;

export default async function (t) {
  const [count, seconds, by] = t.args;
  const net = await openTunnel(t);
  const measure = (direction) => rates(net, { count, direction, split: by === 1, warmUp: WARM_UP, seconds });
  const down = await measure("down");
  const up = await measure("up");
  return { down: sum(down), up: sum(up), "fairness, down": fairness(down), "fairness, up": fairness(up) };
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** Jain's index: 1 where all have the same. */
function fairness(numbers) {
  return sum(numbers) ** 2 / (numbers.length * sum(numbers.map((number) => number ** 2)));
}
