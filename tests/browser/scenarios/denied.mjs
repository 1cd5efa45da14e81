export const about = "destinations that are not global unicast are denied, by TCP, UDP and ping, and other clients too";
export const egress = true;

const DENIED = [
  "0.1.2.3",
  "10.9.8.7",
  "100.64.255.254",
  "169.254.169.254",
  "172.16.0.1",
  "192.0.0.1",
  "192.168.1.1",
  "203.0.113.1",
  "240.0.0.1",
  "::ffff:10.9.8.7",
  "64:ff9b::10.9.8.7",
  "2001:db8::1",
  "fd00::1",
  "fe80::1",
];

export default async function (t) {
  const [net, other] = [await t.open(), await t.open()];
  const server = new other.TCPServerSocket("::", {});
  const { localPort } = await server.opened;
  for (const address of [...DENIED, ...other.status.addresses]) {
    await Promise.all([
      t.fails(new net.TCPSocket(address, localPort).opened, "EACCES", `TCP to ${address}`),
      t.fails(net.ping(address, { timeout: 20_000 }), "EACCES", `ping ${address}`),
    ]);
  }
  // What never leaves the page: its own loopback, where nobody listens.
  await t.fails(new net.TCPSocket("127.0.0.1", 80).opened, "ECONNREFUSED", "the page's own loopback");
  return `${DENIED.length} addresses and another client`;
}
