// A WebSocket to the gateway without a stack behind it, to say what no stack would. Octets are written out, so that the
// codec under test is not its own judge.
import { within } from "./context.mjs";

/** HELLO of version 1 without token. */
export const HELLO = hello(1, 1);

/** HELLO with a range of versions, and octets behind its last field. */
export function hello(least, most, ...more) {
  return [0xab, 0x7e, 0x15, 0x10, 4 + more.length, least, most, 0, 0, ...more];
}

/** One of our own capsules by the last octet of its type. */
export function capsule(type, ...value) {
  return [0xab, 0x7e, 0x15, type, value.length, ...value];
}

/** SEQUENCE, and a DATAGRAM of `context` with `packet`. */
export function sequenced(number, context, packet) {
  return [...capsule(0x14, number), 0, packet.length + 1, context, ...packet];
}

export class RawTunnel {
  #socket;
  #capsules = [];
  #wake = () => {};
  /** Resolves with the WebSocket's `{ code, reason }`. */
  closed;

  static async open(url, protocols = ["webtun.v1"]) {
    const raw = new RawTunnel();
    raw.#socket = new WebSocket(url, protocols);
    raw.#socket.binaryType = "arraybuffer";
    raw.#socket.onmessage = ({ data }) => {
      raw.#capsules.push(...split(new Uint8Array(data)));
      raw.#wake();
    };
    raw.closed = new Promise((resolve) => (raw.#socket.onclose = resolve));
    await new Promise((resolve, reject) => {
      raw.#socket.onopen = resolve;
      raw.closed.then(({ code }) => reject(new Error(`the WebSocket did not open: ${code}`)));
    });
    return raw;
  }

  /** Sends text, or octets from an array. */
  send(message) {
    this.#socket.send(typeof message === "string" ? message : new Uint8Array(message));
  }

  /** The value of the next capsule of ours with this last octet of its type; others are passed over. */
  async receive(type) {
    for (;;) {
      const at = this.#capsules.findIndex((each) => each.type === 0x2b7e1500 + type);
      if (at >= 0) return this.#capsules.splice(0, at + 1)[at].value;
      await within(new Promise((resolve) => (this.#wake = resolve)), `the capsule 0x2b7e15${type.toString(16)}`);
    }
  }

  close() {
    this.#socket.close();
  }
}

/** The capsules of a message, RFC 9297 section 3.2. */
function split(message) {
  const capsules = [];
  for (let at = 0; at < message.length; ) {
    const type = integer(message, at);
    const length = integer(message, type.end);
    const end = length.end + length.value;
    capsules.push({ type: type.value, value: message.subarray(length.end, end) });
    at = end;
  }
  return capsules;
}

/** A variable-length integer, RFC 9000 section 16. */
function integer(octets, at) {
  const end = at + (1 << (octets[at] >> 6));
  let value = octets[at] & 0x3f;
  for (const octet of octets.subarray(at + 1, end)) value = value * 256 + octet;
  return { value, end };
}
