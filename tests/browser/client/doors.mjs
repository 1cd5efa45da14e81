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

/** RFC 1928 and RFC 1929, within a WebSocket. */
async function bySocks(pipe, host, port, token) {
  await pipe.opened;
  pipe.send([5, 1, 2]);
  await pipe.read(2);
  pipe.send([1, 2, ...encoder.encode("me"), token.length, ...encoder.encode(token)]);
  await pipe.read(2);
  const name = encoder.encode(host);
  pipe.send([5, 1, 0, 3, name.length, ...name, port >> 8, port & 255]);
  const reply = await pipe.read(4);
  if (reply[1] === 2) return "denied";
  if (reply[1] !== 0) return `${reply}`;
  await pipe.read((reply[3] === 1 ? 4 : 16) + 2);
  return `reached: ${(await pipe.rest()).text}`;
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
