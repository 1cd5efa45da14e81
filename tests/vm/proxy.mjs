// A way to the gateway that is closed and cut at will.
import { connect, createServer } from "node:net";

export class Proxy {
  #target;
  #server;
  #port = 0;
  #streams = new Set();

  /** To the server of this URL. It is closed at first. */
  constructor(url) {
    this.#target = new URL(url);
  }

  /** Finds a port, at which nobody listens yet; resolves to the URL. */
  async reserve() {
    await this.open();
    await this.close();
    return `ws://127.0.0.1:${this.#port}/`;
  }

  /** Lets connections through from now on. */
  async open() {
    this.#server = createServer((stream) => {
      const other = connect(Number(this.#target.port), this.#target.hostname);
      for (const [from, to] of [[stream, other], [other, stream]]) {
        this.#streams.add(from);
        from.on("error", () => {}).on("close", () => (this.#streams.delete(from), to.destroy()));
        from.pipe(to);
      }
    });
    await new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = this.#server.address().port;
  }

  /** Cuts all connections. */
  cut() {
    for (const stream of this.#streams) stream.destroy();
  }

  /** Cuts all connections, and refuses further ones. */
  async close() {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
