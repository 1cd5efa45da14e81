// Arguments: 0 for a TCPSocket, 1 for programs built by emcc; MiB each way; round trips.
import { Echo, openTunnel, quantile } from "../client/flows.mjs";
import { Program } from "../client/program.mjs";

export const about = "curl and a C program beside a TCPSocket";
export const programs = ["curl", "echo"];

const HOST = "198.18.0.2";
/** What is written at once. */
const CHUNK = 64 * 1024;

export default async function (t) {
  const [variant, mib, trips] = t.args;
  const net = await openTunnel(t);
  const size = mib * 1024 * 1024;
  return variant === 0 ? asPage(net, size, trips) : asProgram(t, net, size, trips);
}

async function asPage(net, size, trips) {
  const down = await exchange(net, `GET /blob?size=${size} HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`, 0, size);
  const up = await exchange(net, `PUT /sink HTTP/1.0\r\nHost: ${HOST}\r\nContent-Length: ${size}\r\n\r\n`, size, 1);
  const echo = await Echo.open(net);
  const times = [];
  while (times.length < trips) times.push(await echo.round());
  return { down: size / 1e6 / down, up: size / 1e6 / up, "round trip": quantile(times) };
}

/** Seconds of a request with a body of `sent` octets and an answer of at least `received`. */
async function exchange(net, head, sent, received) {
  const start = performance.now();
  const { readable, writable } = await new net.TCPSocket(HOST, 80).opened;
  const writer = writable.getWriter();
  await writer.write(new TextEncoder().encode(head));
  const chunk = new Uint8Array(CHUNK);
  for (let at = 0; at < sent; at += CHUNK) await writer.write(chunk.slice());
  let octets = 0;
  for await (const piece of readable) octets += piece.length;
  if (octets < received) throw new Error(`${octets} octets came, and not ${received}`);
  return (performance.now() - start) / 1000;
}

async function asProgram(t, net, size, trips) {
  const curl = async (figure, ...args) => {
    const program = { program: "curl", files: { "/up": figure === "upload" ? size : 0 } };
    const { lines, errors, exit } = await Program.run(
      t, net, program, "-sSf", "-o", "/dev/null", "-w", `%{speed_${figure}}\\n`, ...args);
    if (exit !== 0) throw new Error(`curl ${args.join(" ")}: ${exit} ${errors.join(" ")}`);
    return Number(lines[0]) / 1e6;
  };
  const down = await curl("download", `http://${HOST}/blob?size=${size}`);
  const up = await curl("upload", "-T", "/up", `http://${HOST}/sink`);
  const { lines } = await Program.run(t, net, "echo", HOST, "7", "pingpong", trips);
  return { down, up, "round trip": Number(/^([\d.]+) ms$/.exec(lines[0])[1]) };
}
