// A connection to an echo server, and a heartbeat that goes on beside what a scenario really does.
import { sleep, within } from "./context.mjs";
import { firstDifference, sequence } from "./octets.mjs";
import { OctetReader } from "./reader.mjs";

export class Echo {
  #writer;
  #reader;
  #next = 0;
  socket;

  /** Connects to the playground's echo server. */
  static async open(net, options = { noDelay: true }) {
    const echo = new Echo();
    echo.socket = new net.TCPSocket("echo.playground.test", 7, options);
    const { readable, writable } = await echo.socket.opened;
    echo.#writer = writable.getWriter();
    echo.#reader = new OctetReader(readable);
    return echo;
  }

  /** Sends `size` octets, others each time, and waits for them to come back. Resolves with milliseconds. */
  async round(size = 16) {
    const data = sequence(size, this.#next);
    this.#next += data.length;
    const start = performance.now();
    const [back] = await Promise.all([this.#reader.fill(new Uint8Array(size)), this.#writer.write(data)]);
    const at = firstDifference(back, data);
    if (at >= 0) throw new Error(`octet ${at} of ${size} came back as another one`);
    return performance.now() - start;
  }

  /** Ends both directions, and waits for the other side. */
  async close() {
    await this.#writer.close();
    await this.#reader.end();
    await this.socket.closed;
  }
}

/** Echoes all the time, from its start to `stop()`. */
export class Heartbeat {
  #running = true;
  #done;
  rounds = 0;
  slowest = 0;

  constructor(echo, { interval = 20, limit = 8000 } = {}) {
    this.#done = this.#beat(echo, interval, limit);
    this.#done.catch(() => {});
  }

  /** Resolves with figures; rejects where an echo was wrong or took longer than the limit. */
  async stop() {
    this.#running = false;
    await this.#done;
    return `${this.rounds} echoes beside it, ${this.slowest.toFixed(0)} ms at most`;
  }

  async #beat(echo, interval, limit) {
    while (this.#running) {
      const time = await within(echo.round(), "the echo beside it", limit);
      this.rounds++;
      this.slowest = Math.max(this.slowest, time);
      await sleep(interval);
    }
  }
}
