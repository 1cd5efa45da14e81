import { within } from "../client/context.mjs";

export const about = "each way to fail reaches the program as its own error";
export const egress = true;
export const deadline = 120;

const WWW = "www.playground.test";

export default async function (t) {
  const net = await t.open();
  const tcp = (host, port, options) => new net.TCPSocket(host, port, options).opened;
  const udp = (host, port) => firstAnswer(net, host, port);
  const cases = [
    ["a port where nobody listens", tcp(WWW, 1), "ECONNREFUSED"],
    ["the same over IPv4", tcp(WWW, 1, { dnsQueryType: "ipv4" }), "ECONNREFUSED"],
    ["the same over IPv6", tcp(WWW, 1, { dnsQueryType: "ipv6" }), "ECONNREFUSED"],
    ["a host that is not there", tcp("unreachable.playground.test", 80), "EHOSTUNREACH"],
    ["a network without a route", tcp("noroute.playground.test", 80), "ENETUNREACH"],
    ["the same over IPv6", tcp("noroute.playground.test", 80, { dnsQueryType: "ipv6" }), "ENETUNREACH"],
    ["a host that never answers", tcp("blackhole.playground.test", 80), "ETIMEDOUT"],
    ["the same by a socket of the gateway", tcp("blackhole.playground.test", 80, { split: true }), "ETIMEDOUT"],
    ["a destination that is not allowed", tcp("10.9.8.7", 80), "EACCES"],
    ["the same over IPv6", tcp("fd00::1", 80), "EACCES"],
    ["a name that does not exist", tcp("nobody.playground.test", 80), "ENOTFOUND"],
    ["a connection that is reset", resetConnection(net), "ECONNRESET"],
    ["a UDP port where nobody listens", udp(WWW, 2), "ECONNREFUSED"],
    ["UDP to a host that is not there", udp("unreachable.playground.test", 7), "EHOSTUNREACH"],
    ["UDP to a network without a route", udp("noroute.playground.test", 7), "ENETUNREACH"],
    ["UDP that is not allowed", udp("10.9.8.7", 7), "EACCES"],
    ["UDP to a name that does not exist", udp("nobody.playground.test", 7), "ENOTFOUND"],
    ["an address that is not ours", new net.TCPServerSocket("192.0.2.1").opened, "EADDRNOTAVAIL"],
    ["a port that is taken", takenPort(net), "EADDRINUSE"],
    ["a connection that its owner gives up", givenUp(net), "EPIPE"],
  ];
  const results = await Promise.allSettled(cases.map(([what, promise, code]) => t.fails(promise, code, what)));
  const wrong = results.filter(({ status }) => status === "rejected").map(({ reason }) => reason.message);
  t.check(wrong.length === 0, wrong.join("; "));

  for (const { value: error } of results) {
    t.equal(error.name, error.code === "EACCES" ? "NotAllowedError" : "NetworkError", `the name of ${error.code}`);
  }
  return `${cases.length} failures, ${new Set(cases.map(([, , code]) => code)).size} codes`;
}

/** Port 5 resets as soon as an octet arrives. */
async function resetConnection(net) {
  const socket = new net.TCPSocket(WWW, 5);
  const { readable, writable } = await socket.opened;
  const writer = writable.getWriter();
  await writer.write(new Uint8Array(1));
  const closed = within(socket.closed, "the end of the socket").then(
    () => Promise.reject(new Error("`closed` does not know of the reset")),
    (error) => error,
  );
  const failed = await readable.getReader().read().then(
    () => Promise.reject(new Error("the reader does not know of the reset")),
    (error) => error,
  );
  if ((await closed).code !== failed.code) throw new Error(`closed: ${(await closed).message}`);
  throw failed;
}

/** A datagram whose answer is an ICMP error. */
async function firstAnswer(net, remoteAddress, remotePort) {
  const socket = new net.UDPSocket({ remoteAddress, remotePort });
  socket.closed.catch(() => {});
  const { readable, writable } = await socket.opened;
  const reader = readable.getReader();
  const read = reader.read();
  const written = writable.getWriter().write({ data: new Uint8Array(4) });
  return within(Promise.all([read, written]), "an answer");
}

async function takenPort(net) {
  const first = new net.TCPServerSocket("0.0.0.0");
  const { localPort } = await first.opened;
  return new net.TCPServerSocket("0.0.0.0", { localPort }).opened;
}

/** Writing after the connection was closed. */
async function givenUp(net) {
  const socket = net.connect({ hostname: "echo.playground.test", port: 7 });
  await socket.opened;
  const writer = socket.writable.getWriter();
  await socket.close();
  return writer.write(new Uint8Array(1));
}
