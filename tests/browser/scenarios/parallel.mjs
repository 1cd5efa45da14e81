import { Echo } from "../client/echo.mjs";
import { expectedHash, get, put } from "../client/http.mjs";
import { checkSequence, mib, rate, sequence } from "../client/octets.mjs";

export const about = "many transfers both ways at once, over both families, are whole";
export const egress = true;
export const deadline = 120;

const STREAMS = 10;

export default async function (t) {
  const net = await t.open();
  const size = Math.floor(t.size / STREAMS / 4096) * 4096;
  const expected = await expectedHash(net, size);
  const data = sequence(size);
  const start = performance.now();
  const down = async (index) => {
    const { reader } = await get(net, `/blob?size=${size}`, { dnsQueryType: index % 2 ? "ipv4" : "ipv6" });
    await checkSequence(await reader.fill(new Uint8Array(size)), expected);
    await reader.end();
  };
  const up = async () => t.equal((await put(net, data, 50_000)).sha256, expected, "the hash of an upload");
  const around = async () => {
    const echo = await Echo.open(net);
    for (let at = 0; at < size; at += 1 << 20) await echo.round(1 << 20);
    await echo.close();
  };
  const transfers = Array.from({ length: STREAMS }, (_, index) => [down(index), up(), around()]);
  await Promise.all(transfers.flat());
  return `${3 * STREAMS} of ${mib(size)}, ${rate(4 * STREAMS * size, start)} in all`;
}
