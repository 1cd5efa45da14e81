import { V86 } from "v86";
import { connect, errorCode, type Network, type TCPSocket } from "webtun";
import { openEthernet, relayWebSocket } from "webtun/ethernet";
import { connect as slim } from "webtun/slim";
import { attach } from "webtun/v86";
import { wasiSockets, type WasiSockets } from "webtun/wasi";
import { decodeMessage, type Capsule } from "webtun/wire";

export async function main(): Promise<void> {
  const net: Network = await connect("ws://127.0.0.1/", { worker: false });
  const socket: TCPSocket = new net.TCPSocket("host", 80, { noDelay: true });
  const { readable, writable, remotePort } = await socket.opened;
  const port: number = remotePort;
  await writable.getWriter().write(new Uint8Array([port & 255]));
  const { value } = await readable.getReader({ mode: "byob" }).read(new Uint8Array(4));
  const octets: Uint8Array | undefined = value;
  const server = new net.TCPServerSocket("::", { external: { port: 80 } });
  const { externalPort } = await server.opened;
  const { rtt } = await net.ping("host", { timeout: 100 });
  net.status.addEventListener("update", () => console.log(net.status.rates.sent, rtt, externalPort, octets));
  net.trace((_direction, message) => decodeMessage(message).map((capsule: Capsule) => capsule.type));
  await slim("ws://127.0.0.1/").catch((error: unknown) => errorCode(error) === "ECONNREFUSED");
  // @ts-expect-error the option does not exist
  new net.TCPSocket("host", 80, { nodelay: true });
}

export async function program(instance: WebAssembly.Instance): Promise<number> {
  const sockets: WasiSockets = await wasiSockets();
  const shim = { wasiImport: { fd_write: () => 0 }, start: () => 0 };
  const { start } = sockets.preview1(shim, { minimalConnect: "host" });
  sockets.preview2({}, { stdout: (octets) => console.log(octets.length) });
  return start(instance);
}

export async function machine(): Promise<void> {
  const net = await openEthernet("ws://127.0.0.1/", { mtu: 65000 });
  const emulator = new V86({ net_device: { type: "virtio", mtu: 65000 } });
  const port = attach(emulator, net, { card: 0 });
  globalThis.WebSocket = relayWebSocket(net, { framing: "length" });
  const { external } = await net.mapPort(80);
  console.log(external?.address, external?.port);
  port.unplug();
  net.close();
}
