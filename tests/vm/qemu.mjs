// The guest under a native QEMU. What its `-netdev socket` says goes into the messages of a WebSocket, cut anywhere: so do
// emulators that are compiled by emscripten, such as those of container2wasm.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import WebSocket from "ws";
import { Shell } from "./console.mjs";
import { IMAGE, KERNEL } from "./image.mjs";

/** Starts a guest whose network card is at the door of this address, or at the end of a WebSocket of another class. */
export async function startQemu({ url, mtu, socket = WebSocket }) {
  const bridge = await listen(url, socket);
  const card = `virtio-net-pci,netdev=n,mac=02:00:00:00:00:01${mtu > 1500 ? `,host_mtu=${mtu}` : ""}`;
  const program = spawn(
    "qemu-system-i386",
    [
      ..."-m 256 -nographic -no-reboot -monitor none -append".split(" "), KERNEL,
      "-kernel", join(IMAGE, "bzImage"), "-initrd", join(IMAGE, "initrd.gz"),
      "-netdev", `socket,id=n,connect=127.0.0.1:${bridge.address().port}`, "-device", card,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const shell = new Shell({
    onText: (listener) => program.stdout.setEncoding("utf8").on("data", listener),
    send: (text) => program.stdin.write(text),
  });
  const stop = async () => {
    const ended = new Promise((resolve) => program.once("exit", resolve));
    program.kill();
    bridge.close();
    await ended;
  };
  process.on("exit", () => program.kill());
  try {
    await shell.booted();
    await shell.must(":");
  } catch (error) {
    await stop();
    throw error;
  }
  return { shell, stop };
}

/** Takes QEMU's connection, and opens a WebSocket for it. */
async function listen(url, Socket) {
  const server = createServer((stream) => {
    const socket = new Socket(url, ["binary"]);
    const early = [];
    socket.binaryType = "arraybuffer";
    const send = (octets) => (socket.readyState === 1 ? socket.send(octets) : early.push(octets));
    stream.on("data", (octets) => pieces(octets).forEach(send));
    socket.onopen = () => {
      if (socket.protocol !== "binary") stream.destroy(new Error(`the subprotocol is "${socket.protocol}"`));
      early.splice(0).forEach((octets) => socket.send(octets));
    };
    socket.onmessage = ({ data }) => stream.write(new Uint8Array(data));
    socket.onclose = ({ code, reason }) => stream.destroy(code === 1005 ? undefined : new Error(`closed: ${code} ${reason}`));
    socket.onerror = () => {};
    stream.on("error", (error) => console.error(`the network of QEMU: ${error.message}`));
    stream.on("close", () => socket.close());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Unevenly cut: a message is no frame. */
function pieces(octets) {
  const parts = [];
  for (let at = 0; at < octets.length; at += parts.at(-1).length) {
    parts.push(octets.subarray(at, at + 1 + Math.floor(Math.random() * 1000)));
  }
  return parts;
}
