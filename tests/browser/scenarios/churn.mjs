import { Echo } from "../client/echo.mjs";

export const about = "connections come and go, one by one and all at once, and each is closed in order";
export const egress = true;
export const deadline = 120;

const COUNT = 200;

export default async function (t) {
  const net = await t.open();
  const one = async () => {
    const echo = await Echo.open(net);
    await echo.round(1);
    await echo.close();
  };
  const start = performance.now();
  for (let turn = 0; turn < COUNT; turn++) await one();
  const middle = performance.now();
  await Promise.all(Array.from({ length: COUNT }, one));
  const each = ((middle - start) / COUNT).toFixed(1);
  return `${COUNT} in turn at ${each} ms each, ${COUNT} at once in ${(performance.now() - middle).toFixed(0)} ms`;
}
