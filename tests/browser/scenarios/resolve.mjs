export const about = "names: A, AAAA, an alias, an answer too long for UDP, and one that does not exist";
export const egress = true;

const sorted = (addresses) => [...addresses].sort().join(" ");

export default async function (t) {
  const net = await t.open();
  const answer = async (name, family) => sorted(await net.resolve(`${name}.playground.test`, { family }));
  t.equal(await answer("www", "ipv4"), "198.18.0.2", "A");
  t.equal(await answer("www", "ipv6"), "2001:2::2", "AAAA");
  t.equal(await answer("www"), "198.18.0.2 2001:2::2", "both");
  t.equal(await answer("WWW"), "198.18.0.2 2001:2::2", "in capitals");
  t.equal(await answer("alias"), "198.18.0.2 2001:2::2", "an alias");
  t.equal(await answer("host", "ipv4"), "198.18.0.1", "the gateway's external address");
  for (const family of ["ipv4", "ipv6"]) {
    const addresses = await net.resolve("big.playground.test", { family });
    t.equal(new Set(addresses).size, 100, `addresses of a long answer over ${family}`);
  }
  t.equal(sorted(await net.resolve("192.0.2.1")), "192.0.2.1", "a literal");
  t.equal(sorted(await net.resolve("[2001:db8::1]")), "2001:db8::1", "a literal in brackets");
  t.check((await net.resolve("localhost")).length > 0, "localhost has no address");

  await t.fails(net.resolve("nobody.playground.test"), "ENOTFOUND", "a name that does not exist");
  await t.fails(net.resolve("192.0.2.1", { family: "ipv6" }), "ENOTFOUND", "a literal of the other family");
  const error = await t.fails(net.resolve(`${"x".repeat(64)}.test`), "EINVAL", "a label that is too long");
  t.equal(error.name, "NetworkError", "the name of the error");

  const start = performance.now();
  for (let turn = 0; turn < 100; turn++) await net.resolve("www.playground.test");
  return `${((performance.now() - start) / 100).toFixed(2)} ms from the cache`;
}
