// HTTP/1.1 over a TCPSocket: enough to show what a raw socket can do. No TLS: the page brings none.

const LONGEST_HEAD = 64 << 10;
const text = new TextDecoder("latin1");

/** Octets of a stream, with a way to look for the end of a line first. */
class Source {
  #reader;
  #rest = new Uint8Array(0);

  constructor(readable) {
    this.#reader = readable.getReader();
  }

  /** The next octets as they come, or undefined at the end. */
  async chunk() {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = new Uint8Array(0);
      return rest;
    }
    const { value, done } = await this.#reader.read();
    return done ? undefined : value;
  }

  /** Everything up to and with `mark`, as text. */
  async until(mark) {
    let found = this.#rest;
    for (;;) {
      const at = text.decode(found).indexOf(mark);
      if (at >= 0) {
        this.#rest = found.subarray(at + mark.length);
        return text.decode(found.subarray(0, at + mark.length));
      }
      const { value, done } = found.length > LONGEST_HEAD ? { done: true } : await this.#reader.read();
      if (done) throw new Error("the server's answer is no HTTP, or ended in its head");
      const joined = new Uint8Array(found.length + value.length);
      joined.set(found);
      joined.set(value, found.length);
      found = joined;
    }
  }

  /** Exactly `length` octets, in pieces. */
  async *exactly(length) {
    while (length > 0) {
      const chunk = await this.chunk();
      if (!chunk) throw new Error(`the connection ended ${length} octets too early`);
      const part = chunk.subarray(0, length);
      this.#rest = chunk.subarray(part.length);
      length -= part.length;
      yield part;
    }
  }

  async *toTheEnd() {
    for (let chunk = await this.chunk(); chunk; chunk = await this.chunk()) yield chunk;
  }

  cancel(reason) {
    return this.#reader.cancel(reason);
  }
}

/** RFC 9112 section 7.1. */
async function* chunked(source) {
  for (;;) {
    const size = Number.parseInt(await source.until("\r\n"), 16);
    if (!(size >= 0)) throw new Error("the server sent a broken chunk");
    yield* source.exactly(size);
    if (size === 0) return;
    await source.until("\r\n");
  }
}

function parseHead(head) {
  const [first, ...lines] = head.trimEnd().split("\r\n");
  const match = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(first);
  if (!match) throw new Error("the server does not speak HTTP/1");
  const headers = new Map();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(match[1]), reason: match[2], headers };
}

function bodyOf(source, headers) {
  if (/chunked/i.test(headers.get("transfer-encoding") ?? "")) return { body: chunked(source) };
  const length = headers.get("content-length");
  if (length === undefined) return { body: source.toTheEnd() };
  return { length: Number(length), body: source.exactly(Number(length)) };
}

/**
 * Sends a GET request. The answer has `status`, `reason`, `headers`, `length` (undefined where the server does not say)
 * and `body`, an async iterator of octets. An aborted `signal` ends the connection.
 */
export async function get(net, url, signal) {
  const { protocol, hostname, port, pathname, search, host } = new URL(url);
  if (protocol !== "http:") throw new Error("only http: here, since this page brings no TLS; a program would");
  const name = hostname.replace(/^\[|\]$/g, "");
  const socket = new net.TCPSocket(name, Number(port || 80));
  const { readable, writable } = await socket.opened;
  socket.closed.catch(() => {});
  const source = new Source(readable);
  signal?.addEventListener("abort", () => source.cancel(signal.reason).catch(() => {}));
  const writer = writable.getWriter();
  const lines = [`GET ${pathname}${search} HTTP/1.1`, `Host: ${host}`, "User-Agent: webtun-demo", "Connection: close", "", ""];
  await writer.write(new TextEncoder().encode(lines.join("\r\n")));
  const answer = parseHead(await source.until("\r\n\r\n"));
  const { body, length } = bodyOf(source, answer.headers);
  const end = () => Promise.allSettled([source.cancel(), writer.close()]);
  return { ...answer, length, body: endingWith(body, end) };
}

/** Runs `end` when the body is through, or is no longer read. */
async function* endingWith(body, end) {
  try {
    yield* body;
  } finally {
    end();
  }
}

/** The whole body of a short answer, as text. Throws unless the status is 200. */
export async function getText(net, url, signal) {
  const { status, reason, body } = await get(net, url, signal);
  const decoder = new TextDecoder();
  let whole = "";
  for await (const chunk of body) whole += decoder.decode(chunk, { stream: true });
  if (status !== 200) throw new Error(whole.trim() || `the server answered ${status} ${reason}`);
  return whole.trim();
}
