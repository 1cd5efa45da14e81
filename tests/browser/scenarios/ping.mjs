export const about = "ping over IPv4 and IPv6, of small and large packets, and its failures";
export const egress = true;

export default async function (t) {
  const net = await t.open();
  const times = [];
  for (const [family, address, longest] of [["ipv4", "198.18.0.2", 65_507], ["ipv6", "2001:2::2", 65_487]]) {
    for (const size of [0, 56, 1472, 1473, 9000, longest]) {
      const reply = await net.ping("www.playground.test", { family, size, timeout: 20_000 });
      t.equal(reply.address, address, `who answers ${size} octets over ${family}`);
      t.equal(reply.size, size, `octets over ${family}`);
      t.check(reply.hopLimit > 0 && reply.hopLimit <= 255, `the hop limit ${reply.hopLimit}`);
      if (size === 56) times.push(`${reply.rtt.toFixed(1)} ms over ${family}`);
    }
  }
  for (const server of net.status.lease.dns) {
    t.equal((await net.ping(server, { timeout: 20_000 })).address, server, "the gateway's own address");
  }
  const ping = (host, timeout = 20_000) => net.ping(host, { timeout });
  await Promise.all([
    t.fails(ping("blackhole.playground.test", 500), "ETIMEDOUT", "a host that never answers"),
    t.fails(ping("198.18.0.99"), "EHOSTUNREACH", "a host that is not there"),
    t.fails(ping("10.9.8.7"), "EACCES", "a host that is not allowed"),
    t.fails(ping("nobody.playground.test"), "ENOTFOUND", "a name that does not exist"),
  ]);
  return times.join(", ");
}
