// The HTTP server of a run: the page and the package, jobs and their results, calls from a scenario to its half in this
// process, and the way to the gateway.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-cache",
};

export class Site {
  #server = http.createServer((request, response) => this.#serve(request, response));
  #mounts;
  #tunnels;
  #jobs = new Map();
  #page = { life: 0, waiting: undefined, poll: undefined, asked: () => {} };

  /**
   * @param mounts - folders by URL prefix
   * @param tunnels - where upgrades go
   */
  constructor(mounts, tunnels) {
    this.#mounts = mounts;
    this.#tunnels = tunnels;
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  async listen() {
    await new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", resolve);
    });
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** The address of the page for a new browser; what an older browser still asks is refused. */
  newPage() {
    const life = this.#page.life + 1;
    const asked = new Promise((resolve) => {
      this.#page = { life, waiting: undefined, poll: undefined, asked: resolve };
    });
    return { url: `${this.origin}/?life=${life}`, asked };
  }

  /** Hands a job to the page, at once or when it asks. */
  give(job) {
    const { poll } = this.#page;
    this.#page.waiting = job;
    this.#page.poll = undefined;
    if (poll !== undefined) this.#handOut(poll);
  }

  /**
   * Makes a job known.
   *
   * @param half - `gateways`: URLs by name; `host`: what the scenario may call here; `done`: takes the result
   */
  register(id, half) {
    this.#jobs.set(id, half);
  }

  forget(id) {
    this.#jobs.delete(id);
  }

  #handOut(response) {
    send(response, 200, this.#page.waiting);
    this.#page.waiting = undefined;
  }

  async #serve(request, response) {
    try {
      const url = new URL(request.url, this.origin);
      const [, area, id, name, number] = url.pathname.split("/");
      if (area === "next") return this.#next(Number(url.searchParams.get("life")), response);
      if (area === "done") return this.#done(id, await body(request), response);
      if (area === "host") return await this.#call({ id, name, number }, await body(request), response);
      const file = this.#find(url.pathname);
      if (file === undefined) return send(response, 404, { error: "no such file" });
      response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
      fs.createReadStream(file).pipe(response);
    } catch (error) {
      send(response, 500, { error: String(error) });
    }
  }

  #next(life, response) {
    if (life !== this.#page.life) return send(response, 410, {});
    this.#page.asked();
    if (this.#page.waiting !== undefined) return this.#handOut(response);
    this.#page.poll = response;
    response.on("close", () => {
      if (this.#page.poll === response) this.#page.poll = undefined;
    });
  }

  #done(id, result, response) {
    this.#jobs.get(id)?.done(result);
    send(response, 200, {});
  }

  async #call({ id, name, number }, args, response) {
    const job = this.#jobs.get(id);
    const call = job?.host?.[name];
    if (call === undefined) return send(response, 404, { error: `the scenario has no ${name} on this side` });
    job.calls ??= new Map();
    if (!job.calls.has(number)) job.calls.set(number, (async () => call(...args))());
    try {
      send(response, 200, { value: await job.calls.get(number) });
    } catch (error) {
      send(response, 200, { error: error.message });
    }
  }

  #find(pathname) {
    const name = pathname === "/" ? "/client/index.html" : decodeURIComponent(pathname);
    const prefix = Object.keys(this.#mounts).find((each) => name.startsWith(each));
    if (prefix === undefined) return undefined;
    const folder = this.#mounts[prefix];
    const file = path.resolve(folder, name.slice(prefix.length));
    const inside = file.startsWith(folder + path.sep);
    return inside && fs.statSync(file, { throwIfNoEntry: false })?.isFile() ? file : undefined;
  }

  #upgrade(request, socket, head) {
    const [, area, id, name] = new URL(request.url, this.origin).pathname.split("/");
    const target = area === "tunnel" ? this.#jobs.get(id)?.gateways[name] : undefined;
    if (target === undefined) return socket.destroy();
    this.#tunnels.accept(id, target, this.origin, request, socket, head);
  }
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text === "" ? [] : JSON.parse(text);
}

function send(response, status, value) {
  if (response.headersSent) return;
  response.writeHead(status, { ...HEADERS, "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}
