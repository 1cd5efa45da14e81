import { within } from "../client/context.mjs";

export const about = "connect() in the shape of WinterTC";
export const egress = true;

const encoder = new TextEncoder();

export default async function (t) {
  const net = await t.open();
  const { connect } = net;

  // The streams are used before the connection is there.
  const socket = connect({ hostname: "www.playground.test", port: 80 });
  const writer = socket.writable.getWriter();
  await writer.write(encoder.encode("GET /sha256?size=4 HTTP/1.0\r\n\r\n"));
  const text = await new Response(socket.readable).text();
  t.check(text.startsWith("HTTP/1.") && text.includes(" 200 "), `the answer begins ${text.slice(0, 20)}`);
  const { remoteAddress, localAddress } = await socket.opened;
  t.check(remoteAddress.endsWith(":80"), `the remote address is ${remoteAddress}`);
  t.check(localAddress.includes(":"), `the local address is ${localAddress}`);
  // Without allowHalfOpen the end of one direction is the end of both.
  await within(socket.closed, "the end of the socket");

  const byText = connect("[2001:2::2]:7");
  await byText.opened;
  const echoed = byText.writable.getWriter();
  await echoed.write(encoder.encode("over IPv6"));
  const { value } = await byText.readable.getReader().read();
  t.equal(new TextDecoder().decode(value), "over IPv6", "the echo");
  await within(byText.close(), "close() with locked streams");

  const refused = connect({ hostname: "www.playground.test", port: 1 });
  refused.closed.catch(() => {});
  await t.fails(refused.opened, "ECONNREFUSED", "a port where nobody listens");
  await t.fails(refused.closed, "ECONNREFUSED", "`closed` of the same");
  const withTls = () => connect("www.playground.test:443", { secureTransport: "on" });
  t.equal(nameOfFailure(withTls), "NotSupportedError", "TLS");
  return "3 connections";
}

function nameOfFailure(call) {
  try {
    call();
  } catch (error) {
    return error.name;
  }
  return undefined;
}
