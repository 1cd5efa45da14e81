// DNS messages (RFC 1035), as far as a page that shows answers needs them.

export const TYPES = { A: 1, NS: 2, CNAME: 5, SOA: 6, MX: 15, TXT: 16, AAAA: 28 };
const CODES = { 0: "no error", 1: "the server did not understand the question", 2: "the server failed", 3: "the name does not exist", 5: "the server refused" };
const text = new TextDecoder();

/** The octets of a question. */
export function question(id, name, type) {
  const labels = name.replace(/\.$/, "").split(".").filter(Boolean).map((label) => new TextEncoder().encode(label));
  if (labels.length === 0 || labels.some((label) => label.length > 63)) throw new Error(`“${name}” is no host name`);
  const octets = [id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  for (const label of labels) octets.push(label.length, ...label);
  return new Uint8Array([...octets, 0, 0, TYPES[type], 0, 1]);
}

/** The parts of an answer: `{ id, truncated, code, says, records: [{ name, type, ttl, value }] }`. */
export function parse(message) {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const flags = view.getUint16(2);
  let at = 12;
  for (let count = view.getUint16(4); count > 0; count -= 1) at = readName(message, at).next + 4;
  const records = [];
  for (let count = view.getUint16(6); count > 0; count -= 1) {
    const owner = readName(message, at);
    at = owner.next + 10;
    const type = view.getUint16(owner.next);
    const length = view.getUint16(owner.next + 8);
    records.push({ name: owner.name, type: typeName(type), ttl: view.getUint32(owner.next + 4), value: value(message, view, type, at, length) });
    at += length;
  }
  const code = flags & 15;
  return { id: view.getUint16(0), truncated: (flags & 0x0200) !== 0, code, says: CODES[code] ?? `code ${code}`, records };
}

function typeName(type) {
  return Object.keys(TYPES).find((name) => TYPES[name] === type) ?? `TYPE${type}`;
}

/** A name and where it ends. Pointers lead back only, and so the loop ends (section 4.1.4). */
function readName(message, start) {
  const labels = [];
  let at = start;
  let next;
  let limit = start;
  for (;;) {
    const length = message[at];
    if (length === undefined) throw new Error("the answer is cut off");
    if (length >= 0xc0) {
      next ??= at + 2;
      const target = ((length & 0x3f) << 8) | message[at + 1];
      if (target >= limit) throw new Error("the answer has a name that points at itself");
      limit = at = target;
    } else if (length === 0) {
      return { name: labels.join("."), next: next ?? at + 1 };
    } else {
      labels.push(text.decode(message.subarray(at + 1, at + 1 + length)));
      at += 1 + length;
    }
  }
}

function value(message, view, type, at, length) {
  const data = message.subarray(at, at + length);
  switch (type) {
    case TYPES.A:
      return data.join(".");
    case TYPES.AAAA:
      return new URL(`http://[${Array.from({ length: 8 }, (_, index) => view.getUint16(at + 2 * index).toString(16)).join(":")}]`).hostname.slice(1, -1);
    case TYPES.MX:
      return `${view.getUint16(at)} ${readName(message, at + 2).name}`;
    case TYPES.TXT:
      return JSON.stringify(text.decode(data.subarray(1, 1 + data[0])));
    case TYPES.NS:
    case TYPES.CNAME:
    case TYPES.SOA:
      return readName(message, at).name;
    default:
      return `${length} octets`;
  }
}
