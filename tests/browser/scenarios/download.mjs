import { expectedHash, get } from "../client/http.mjs";
import { checkSequence, mib, rate } from "../client/octets.mjs";

export const about = "a large download has the same SHA-256 at both ends";
export const egress = true;
export const deadline = 120;

export default async function (t) {
  const net = await t.open();
  const expected = await expectedHash(net, t.size);
  const start = performance.now();
  const { status, length, reader } = await get(net, `/blob?size=${t.size}`);
  t.equal(status, 200, "status");
  t.equal(length, t.size, "Content-Length");
  const body = await reader.fill(new Uint8Array(t.size));
  const speed = rate(t.size, start);
  await reader.end();
  await checkSequence(body, expected);
  return `${mib(t.size)}, ${speed}`;
}
