// Hands WebSocket upgrades on to a gateway, then octets as they come, and can cut and count them.
import net from "node:net";

/** The tunnels of all scenarios; each names its own by a key. */
export class Tunnels {
  #open = new Map();
  #octets = new Map();
  #cuts = new Map();
  #held = new Map();

  /**
   * Connects a client's upgrade request with `target`.
   *
   * @param key - whose it is
   * @param target - URL of the gateway
   * @param own - the origin of our page, which the gateway shall take for a page of its own
   */
  accept(key, target, own, request, client, head) {
    if (performance.now() < (this.#held.get(key) ?? 0)) return client.destroy();
    const gateway = net.connect(Number(target.port || 80), target.hostname.replace(/^\[|\]$/g, ""));
    const pair = { client, gateway };
    const pairs = this.#open.get(key) ?? new Set();
    this.#open.set(key, pairs.add(pair));
    const counts = this.#octets.get(key) ?? { up: 0, down: 0 };
    this.#octets.set(key, counts);

    for (const socket of [client, gateway]) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        pairs.delete(pair);
        client.destroy();
        gateway.destroy();
      });
    }
    client.on("data", (data) => (counts.up += data.length));
    gateway.on("data", (data) => (counts.down += data.length));
    gateway.write(requestHead(request, target, own));
    gateway.write(head);
    client.pipe(gateway);
    gateway.pipe(client);
  }

  /** Breaks all tunnels of `key`: in turn by a FIN, and by a reset, which also loses what is under way. */
  cut(key) {
    const pairs = [...(this.#open.get(key) ?? [])];
    const cuts = this.#cuts.get(key) ?? 0;
    this.#cuts.set(key, cuts + 1);
    const way = cuts % 2 === 0 ? "destroy" : "resetAndDestroy";
    for (const { client, gateway } of pairs) {
      client[way]();
      gateway[way]();
    }
    return pairs.length;
  }

  /** Breaks all tunnels of `key`, and lets none through for so many milliseconds. */
  hold(key, milliseconds) {
    this.#held.set(key, performance.now() + milliseconds);
    return this.cut(key);
  }

  /** How many tunnels of `key` are open. */
  count(key) {
    return this.#open.get(key)?.size ?? 0;
  }

  /** Octets of `key` so far, with the framing of the WebSocket. */
  octets(key) {
    return { ...(this.#octets.get(key) ?? { up: 0, down: 0 }) };
  }

  /** Forgets `key`, and breaks what it has left open. */
  forget(key) {
    this.cut(key);
    this.#open.delete(key);
    this.#octets.delete(key);
    this.#cuts.delete(key);
    this.#held.delete(key);
  }
}

function requestHead(request, target, own) {
  const { pathname, search } = new URL(request.url, own);
  // What stands behind /tunnel/ID/NAME is one of the gateway's doors.
  const door = pathname.split("/").slice(4).join("/");
  const lines = [`GET ${target.pathname}${door}${search} HTTP/1.1`];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const [name, value] = request.rawHeaders.slice(at, at + 2);
    const lower = name.toLowerCase();
    if (lower === "host") lines.push(`Host: ${target.host}`);
    else if (lower === "origin" && value === own) lines.push(`Origin: http://${target.host}`);
    else lines.push(`${name}: ${value}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}
