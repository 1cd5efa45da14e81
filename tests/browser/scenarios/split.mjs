import { sleep, within } from "../client/context.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";

export const about = "connections that the gateway makes: octets survive a cut, and each failure is its own";
export const deadline = 120;
export const egress = true;

const WWW = "www.playground.test";
const SIZE = 16 * 1024 * 1024;

export default async function (t) {
  const net = await t.open();
  const open = (host, port, options) => new net.TCPSocket(host, port, { split: true, ...options }).opened;
  const cases = [
    ["a port where nobody listens", open(WWW, 1), "ECONNREFUSED"],
    ["a host that is not there", open("unreachable.playground.test", 80), "EHOSTUNREACH"],
    ["a destination that is not allowed", open("10.9.8.7", 80), "EACCES"],
    ["a name that does not exist", open("nobody.playground.test", 80), "ENOTFOUND"],
    ["a connection that is reset", reset(net), "ECONNRESET"],
  ];
  await Promise.all(cases.map(([what, promise, code]) => t.fails(promise, code, what)));

  await Promise.all([echoThroughCuts(t, net), earlyData(t, net)]);
  return `${mib(SIZE)} there and back through two cuts, ${cases.length} failures`;
}

/** Port 5 resets as soon as an octet arrives. */
async function reset(net) {
  const { readable, writable, closed } = net.connect(`${WWW}:5`);
  closed.catch(() => {});
  await writable.getWriter().write(new Uint8Array(1));
  await readable.getReader().read();
}

async function echoThroughCuts(t, net) {
  const socket = net.connect(`${WWW}:7`, { allowHalfOpen: true });
  const writer = socket.writable.getWriter();
  const data = sequence(SIZE);
  const sending = (async () => {
    for (let at = 0; at < SIZE; at += 65536) {
      if (at === SIZE / 4 || at === SIZE / 2) {
        await t.host("cut");
        while ((await t.host("tunnels")) === 0) await sleep(20);
      }
      await writer.write(data.slice(at, at + 65536));
    }
    await writer.close();
  })();
  const got = new Uint8Array(await new Response(socket.readable).arrayBuffer());
  await sending;
  t.equal(got.length, SIZE, "octets that came back");
  t.equal(await sha256(got), await sha256(data), "their hash");
  await within(socket.closed, "the end of the socket");
}

/** Many that speak first, at once. */
async function earlyData(t, net) {
  const encoder = new TextEncoder();
  const fetches = Array.from({ length: 50 }, async (_, number) => {
    const socket = net.connect(`${WWW}:80`);
    await socket.writable.getWriter().write(encoder.encode(`GET /blob?size=${1000 + number} HTTP/1.0\r\n\r\n`));
    const answer = new Uint8Array(await new Response(socket.readable).arrayBuffer());
    const text = new TextDecoder("latin1").decode(answer);
    t.equal(answer.length - text.indexOf("\r\n\r\n") - 4, 1000 + number, "octets of the answer");
  });
  await Promise.all(fetches);
}
