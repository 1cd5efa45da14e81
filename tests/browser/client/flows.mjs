// Flows to the playground's servers, and what they deliver.
import { sleep } from "./context.mjs";

const HOST = "198.18.0.2";
const ECHO = 7;
const DISCARD = 9;
const CHARGEN = 19;
/** What is written at once. */
const CHUNK = 64 * 1024;

/** A tunnel to the gateway, without the harness between. */
export function openTunnel(t) {
  return t.connect(t.gateway, { token: t.token });
}

/** A connection with its reader and writer; `split`: one that the gateway makes. */
async function open(net, port, split = false) {
  const socket = split ? net.connect({ hostname: HOST, port }) : new net.TCPSocket(HOST, port, { noDelay: true });
  const { readable, writable } = split ? (await socket.opened, socket) : await socket.opened;
  return { socket, reader: readable.getReader(), writer: writable.getWriter() };
}

/** A connection to the echo server. */
export class Echo {
  #flow;

  static async open(net) {
    const echo = new Echo();
    echo.#flow = await open(net, ECHO);
    return echo;
  }

  /** Sends an octet and waits for it. Resolves with milliseconds. */
  async round() {
    const start = performance.now();
    const [{ done }] = await Promise.all([this.#flow.reader.read(), this.#flow.writer.write(new Uint8Array(1))]);
    if (done) throw new Error("the echo server has ended the connection");
    return performance.now() - start;
  }

  /** Rounds one after the other, `gap` ms apart, until `running` says no. */
  async rounds(gap, running) {
    const times = [];
    while (running(times.length)) {
      times.push(await this.round());
      await sleep(gap);
    }
    return times;
  }
}

/** A flow that counts what it moves, until it is stopped. */
export class Bulk {
  octets = 0;
  #flow;
  #running = true;
  #done;

  /** @param direction - "down" or "up" */
  static async open(net, direction, split) {
    const bulk = new Bulk();
    bulk.#flow = await open(net, direction === "down" ? CHARGEN : DISCARD, split);
    bulk.#done = direction === "down" ? bulk.#receive() : bulk.#send();
    bulk.#done.catch(() => {});
    return bulk;
  }

  /** Stops it. Resolves once the other side has all that was sent, which it says by its end. */
  async stop() {
    this.#running = false;
    await this.#done;
  }

  async #receive() {
    const { reader, socket } = this.#flow;
    while (this.#running) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the server has ended the flow");
      this.octets += value.length;
    }
    socket.close().catch(() => {});
    await reader.cancel();
  }

  async #send() {
    const { reader, writer } = this.#flow;
    const data = new Uint8Array(CHUNK);
    while (this.#running) {
      await writer.ready;
      await writer.write(data);
      this.octets += data.length;
    }
    await writer.close();
    await reader.read();
  }
}

/** The middle one of several numbers, or another share of them. */
export function quantile(numbers, share = 0.5) {
  const sorted = [...numbers].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** MB/s of flows side by side, after `warmUp` seconds, for `seconds`; one number for each. */
export async function rates(net, { count, direction, split, warmUp, seconds }) {
  const flows = await Promise.all(Array.from({ length: count }, () => Bulk.open(net, direction, split)));
  await sleep(warmUp * 1000);
  const [start, before] = [performance.now(), flows.map((flow) => flow.octets)];
  await sleep(seconds * 1000);
  const took = (performance.now() - start) / 1000;
  const moved = flows.map((flow, index) => (flow.octets - before[index]) / 1e6 / took);
  await Promise.all(flows.map((flow) => flow.stop()));
  return moved;
}
