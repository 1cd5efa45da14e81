// Reads a byte stream by lines and by counts.

const decoder = new TextDecoder();

export class OctetReader {
  #reader;
  #rest = new Uint8Array(0);

  constructor(readable) {
    this.#reader = readable.getReader();
  }

  /** The next octets as they come, or `undefined` at the end. */
  async read() {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = new Uint8Array(0);
      return rest;
    }
    const { value, done } = await this.#reader.read();
    return done ? undefined : value;
  }

  /** A line without its end, at most 8 KiB long. */
  async line() {
    let line = new Uint8Array(0);
    for (;;) {
      const chunk = await this.read();
      if (chunk === undefined) throw new Error(`the stream ended within the line "${decoder.decode(line)}"`);
      line = joined(line, chunk);
      const end = line.indexOf(10);
      if (end >= 0) {
        this.#rest = line.subarray(end + 1);
        return decoder.decode(line.subarray(0, end)).trimEnd();
      }
      if (line.length > 8192) throw new Error("the line does not end");
    }
  }

  /** Fills `target`; the stream must not end before. `onProgress` may return a promise, which is waited for. */
  async fill(target, onProgress = () => {}) {
    let at = 0;
    while (at < target.length) {
      const chunk = await this.read();
      if (chunk === undefined) throw new Error(`the stream ended after ${at} of ${target.length} octets`);
      const part = chunk.subarray(0, target.length - at);
      target.set(part, at);
      this.#rest = chunk.subarray(part.length);
      at += part.length;
      await onProgress(at);
    }
    return target;
  }

  /** Everything up to the end of the stream, as text. */
  async text() {
    let text = new Uint8Array(0);
    for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read()) text = joined(text, chunk);
    return decoder.decode(text);
  }

  /** Checks that the stream ends here. */
  async end() {
    const more = await this.read();
    if (more !== undefined) throw new Error(`${more.length} octets came where the stream should have ended`);
  }

  /** Wants nothing more. */
  cancel() {
    return this.#reader.cancel();
  }

  /** Lets others read the stream; what was read too far is lost. */
  release() {
    this.#reader.releaseLock();
  }
}

function joined(head, tail) {
  const all = new Uint8Array(head.length + tail.length);
  all.set(head);
  all.set(tail, head.length);
  return all;
}
