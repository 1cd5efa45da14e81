// One attempt at a destination by each door that carries connections, without a client of others: octets are written out, as
// every one of them has them on the wire. An attempt ends as `reached: TEXT`, `denied`, or what else the door says.
import { within } from "./context.mjs";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A WebSocket as a stream of octets, whatever messages they come in. */
class Pipe {
  #socket;
  #octets = [];
  #wake = () => {};
  #end;

  constructor(url, protocols) {
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve) => (this.#socket.onopen = resolve));
    this.#socket.onmessage = ({ data }) => {
      this.#octets.push(...new Uint8Array(data));
      this.#wake();
    };
    this.#socket.onclose = ({ code }) => {
      this.#end = code;
      this.#wake();
    };
  }

  send(octets) {
    this.#socket.send(new Uint8Array(octets));
  }

  /** The next `count` octets, and no fewer. */
  async read(count) {
    while (this.#octets.length < count) {
      if (this.#end !== undefined) throw new Error(`closed with ${this.#end}`);
      await new Promise((resolve) => (this.#wake = resolve));
    }
    return this.#octets.splice(0, count);
  }

  /** All until the end, as text, and the code of the end. */
  async rest() {
    while (this.#end === undefined) await new Promise((resolve) => (this.#wake = resolve));
    return { text: decoder.decode(new Uint8Array(this.#octets.splice(0))), code: this.#end };
  }

  close() {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

/** `/tcp/HOST/PORT`, whose codes end as those of HTTP. */
async function byTcp(pipe) {
  const { text, code } = await pipe.rest();
  if (text !== "") return `reached: ${text}`;
  return code === 4403 ? "denied" : `${code}`;
}

const CONNECT = 1;
const UDP_ASSOCIATE = 3;

/** RFC 1928 and RFC 1929, within a WebSocket: what is answered to a request. */
async function askSocks(pipe, command, destination, token) {
  await pipe.opened;
  pipe.send([5, 1, 2]);
  await pipe.read(2);
  pipe.send([1, 2, ...encoder.encode("me"), token.length, ...encoder.encode(token)]);
  await pipe.read(2);
  pipe.send([5, command, 0, ...destination]);
  const reply = await pipe.read(4);
  if (reply[1] === 0) await pipe.read((reply[3] === 1 ? 4 : 16) + 2);
  return reply;
}

/** A destination as SOCKS writes it, by its name. */
function named(host, port) {
  const name = encoder.encode(host);
  return [3, name.length, ...name, port >> 8, port & 255];
}

async function bySocks(pipe, host, port, token) {
  const reply = await askSocks(pipe, CONNECT, named(host, port), token);
  if (reply[1] === 2) return "denied";
  if (reply[1] !== 0) return `${reply}`;
  return `reached: ${(await pipe.rest()).text}`;
}

/** A datagram, whose association ends where policy forbids it. */
async function bySocksUdp(pipe, host, port, token) {
  const anywhere = [1, 0, 0, 0, 0, 0, 0];
  const reply = await askSocks(pipe, UDP_ASSOCIATE, anywhere, token);
  if (reply[1] !== 0) return `${reply}`;
  pipe.send([0, 0, 0, ...named(host, port), ...encoder.encode("?")]);
  try {
    const from = await pipe.read(4);
    await pipe.read((from[3] === 1 ? 4 : 16) + 2);
    return `reached: ${decoder.decode(new Uint8Array(await pipe.read("reached".length)))}`;
  } catch (error) {
    return error.message === "closed with 4403" ? "denied" : error.message;
  }
}

/** A stream of Wisp version 1; `kind` is 1 for TCP, and 2 for UDP. */
async function byWisp(pipe, host, port, kind) {
  const CLOSE = 4;
  const DATA = 2;
  await pipe.read(9);
  // A message is a packet, and the octets of none are of any other.
  pipe.send([1, 1, 0, 0, 0, kind, port & 255, port >> 8, ...encoder.encode(host)]);
  if (kind === 2) pipe.send([DATA, 1, 0, 0, 0, ...encoder.encode("?")]);
  for (;;) {
    const [type] = await pipe.read(5);
    if (type === CLOSE) {
      const [reason] = await pipe.read(1);
      return reason === 0x48 ? "denied" : `0x${reason.toString(16)}`;
    }
    if (type === DATA) return `reached: ${decoder.decode(new Uint8Array(await pipe.read("reached".length)))}`;
    await pipe.read(4);
  }
}

const WAYS = {
  "/tcp/": [(url, host, port, token) => [`${url}/tcp/${host}/${port}?token=${token}`, "binary"], byTcp],
  SOCKS: [(url) => [url, "binary"], bySocks],
  "SOCKS UDP": [(url) => [url, "binary"], bySocksUdp],
  "/wisp/ TCP": [wisp, (pipe, host, port) => byWisp(pipe, host, port, 1)],
  "/wisp/ UDP": [wisp, (pipe, host, port) => byWisp(pipe, host, port, 2)],
};

function wisp(url, _host, _port, token) {
  return [`${url}/wisp/${token}/`, []];
}

/** The names of the doors. */
export const DOORS = Object.keys(WAYS);

/** How an attempt by this door ends. */
export async function attemptBy(door, url, { host, port, token, patience }) {
  const [address, talk] = WAYS[door];
  const pipe = new Pipe(...address(url, host, port, token));
  try {
    return await within(talk(pipe, host, port, token), `${door} to ${host}`, patience);
  } catch (error) {
    return error.message;
  } finally {
    pipe.close();
  }
}
