/** DNS_ASSIGN and PREF64 (draft-ietf-masque-connect-ip-dns). */
import { Reader, WireError } from "./reader.js";
import type { Capsule } from "./types.js";

/** SvcParamKeys (RFC 9460 section 14.3.2). */
const MANDATORY = 0;
const ALPN = 1;
const NO_DEFAULT_ALPN = 2;
const PORT = 3;
const IPV4HINT = 4;
const IPV6HINT = 6;

const DNS_PORT = 53;

interface Server {
  readonly priority: number;
  readonly address: string;
}

function domain(value: Reader): string {
  return value.text().replace(/\.+$/, "");
}

/** Checks one service parameter and tells whether it leaves plain DNS on its usual port. */
function plainParameter(key: number, content: Reader, authenticated: boolean): boolean {
  if (key === IPV4HINT || key === IPV6HINT) throw new WireError("value");
  if ((key === ALPN || key === NO_DEFAULT_ALPN) && !authenticated) throw new WireError("value");
  switch (key) {
    case MANDATORY:
      return content.list(() => content.u16()).every((mandatory) => mandatory === PORT);
    case NO_DEFAULT_ALPN:
      content.finish();
      return false;
    case PORT: {
      const port = content.u16();
      content.finish();
      return port === DNS_PORT;
    }
    default:
      return true;
  }
}

/** Checks SvcParams (RFC 9460 section 2.2) and tells whether they leave plain DNS on its usual port. */
function plainDns(params: Reader, authenticated: boolean): boolean {
  let plain = true;
  let last = -1;
  while (!params.empty) {
    const key = params.u16();
    if (key <= last) throw new WireError("range");
    last = key;
    const content = new Reader(params.take(params.u16()));
    if (!plainParameter(key, content, authenticated)) plain = false;
  }
  return plain;
}

function nameserver(value: Reader): Server[] {
  const priority = value.u16();
  if (priority === 0) throw new WireError("value");
  const servers: Server[] = [];
  value.counted(() => servers.push({ priority, address: value.ip(4) }));
  value.counted(() => servers.push({ priority, address: value.ip(6) }));
  const authenticated = domain(value) !== "";
  return plainDns(new Reader(value.prefixed()), authenticated) ? servers : [];
}

/** The servers that are good for every name, in order of priority, and the search domains. */
export function decodeDnsAssign(value: Reader): Capsule {
  const servers: Server[] = [];
  const search: string[] = [];
  while (!value.empty) {
    const found: Server[] = [];
    let root = false;
    value.counted(() => found.push(...nameserver(value)));
    value.counted(() => {
      if (domain(value) === "") root = true;
    });
    if (root) servers.push(...found);
    value.counted(() => search.push(domain(value)));
  }
  servers.sort((a, b) => a.priority - b.priority);
  return { type: "DNS_ASSIGN", servers: servers.map(({ address }) => address), search };
}

/** The prefix lengths of RFC 6052 section 2.2. */
const PREF64_LENGTHS: ReadonlySet<number> = new Set([32, 40, 48, 56, 64, 96]);

export function decodePref64(value: Reader): Capsule {
  const prefixes = value.list(() => {
    const prefixLength = value.u8();
    if (!PREF64_LENGTHS.has(prefixLength)) throw new WireError("prefix_length");
    const octets = new Uint8Array(16);
    octets.set(value.take(12));
    return { address: new Reader(octets).ip(6), prefixLength };
  });
  return { type: "PREF64", prefixes };
}
