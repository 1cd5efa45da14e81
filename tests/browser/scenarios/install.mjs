import { OctetReader } from "../client/reader.mjs";

export const about = "install() puts the Direct Sockets classes where programs look for them, and takes them back";

const NAMES = ["TCPSocket", "UDPSocket", "TCPServerSocket"];

export default async function (t) {
  const before = NAMES.map((name) => globalThis[name]);
  const net = await t.open();
  const uninstall = net.install(globalThis);
  for (const name of NAMES) t.equal(globalThis[name], net[name], `globalThis.${name}`);
  await asAProgramWould(t);
  uninstall();
  NAMES.forEach((name, index) => t.equal(globalThis[name], before[index], `globalThis.${name} afterwards`));
  return NAMES.join(", ");
}

/** Knows nothing of this package. */
async function asAProgramWould(t) {
  const socket = new TCPSocket("echo.playground.test", 7, { noDelay: true, keepAliveDelay: 5000 });
  t.check(socket instanceof TCPSocket, "the socket is of another class");
  t.equal(Object.prototype.toString.call(socket), "[object TCPSocket]", "its tag");
  const { readable, writable, remoteAddress, remotePort, localPort } = await socket.opened;
  t.check(["198.18.0.2", "2001:2::2"].includes(remoteAddress), `the remote address is ${remoteAddress}`);
  t.equal(remotePort, 7, "the remote port");
  t.check(localPort > 0, "there is no local port");

  const writer = writable.getWriter();
  await writer.write(new TextEncoder().encode("installed\n"));
  const reader = new OctetReader(readable);
  t.equal(await reader.line(), "installed", "the echo");
  const locked = await socket.close().then(() => undefined, (error) => error);
  t.equal(locked?.name, "InvalidStateError", "close() with locked streams");
  reader.release();
  writer.releaseLock();
  await socket.close();
  await socket.closed;

  const byob = (await new TCPSocket("chargen.playground.test", 19).opened).readable.getReader({ mode: "byob" });
  const { value } = await byob.read(new Uint8Array(72));
  t.check(value.length > 0 && value[0] === 32, "the reader's own buffer is not filled");
  await byob.cancel();
}
