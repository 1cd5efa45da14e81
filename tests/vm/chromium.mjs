// The guest under v86 in Chromium, which nobody debugs: its page has a WebSocket to this process for the guest's console.
import { existsSync } from "node:fs";
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { basename, dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { Chromium } from "../browser/harness/chromium.mjs";
import { Shell } from "./console.mjs";
import { IMAGE, KERNEL } from "./image.mjs";
import { stateFile, WASM } from "./v86.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const FOLDERS = {
  "/page/": join(here, "page"),
  "/vm/": here,
  "/v86/": dirname(WASM),
  "/image/": IMAGE,
  "/webtun/": join(here, "../../wasm/npm/dist"),
};
const TYPES = { ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };

/** Milliseconds for Chromium to open the page, and for the page to load the machine. */
const PATIENCE = 90_000;

/** As `startV86`: `url` is of a door, `ethernet` are the options for an Ethernet of the page's own. */
export async function startChromium({ nic, mtu, url, ethernet, gateway }) {
  const state = stateFile(nic);
  const path = url && new URL(url).pathname + new URL(url).search;
  const about = { nic, mtu, path, ethernet, kernel: KERNEL, state: existsSync(state) ? basename(state) : undefined };
  const page = new Page(about, new URL(gateway));
  await page.open();
  const shell = new Shell(page);
  const browser = new Chromium(page.url);
  const closeNow = () => browser.closeNow();
  process.on("exit", closeNow);
  const stop = async () => {
    process.off("exit", closeNow);
    page.close();
    await browser.close();
  };
  try {
    await page.running(browser.gone);
    if (!about.state) await shell.booted();
    await shell.must(":");
  } catch (error) {
    await stop();
    throw error;
  }
  const mapPort = async (port) => ({ external: await page.call("map", port), close: () => page.call("unmap", port) });
  return { shell, stop, ...(ethernet && { net: { mapPort, close() {} } }) };
}

/** Serves the page's files, and has the page's end of the console. */
class Page {
  #server = createServer((request, response) => this.#serve(request, response));
  #sockets = new WebSocketServer({ noServer: true });
  #about;
  #gateway;
  #console;
  #listeners = [];
  #answers = new Map();
  #settle;
  #running = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));

  constructor(about, gateway) {
    this.#about = about;
    this.#gateway = gateway;
    this.#running.catch(() => {});
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  open() {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#console?.terminate();
  }

  /** Resolves when the machine runs. */
  running(gone) {
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error("the page does not start")), PATIENCE).unref();
    });
    const ended = gone.then(() => Promise.reject(new Error("Chromium has ended")));
    return Promise.race([this.#running, late, ended]);
  }

  onText(listener) {
    this.#listeners.push(listener);
  }

  send(text) {
    this.#console.send(JSON.stringify({ text }));
  }

  /** Calls a function of the page. */
  call(call, argument) {
    return new Promise((resolve, reject) => {
      const id = this.#answers.size;
      this.#answers.set(id, { resolve, reject });
      this.#console.send(JSON.stringify({ call, argument, id }));
    });
  }

  #serve(request, response) {
    const path = normalize(new URL(request.url, this.url).pathname);
    if (path === "/guest.json") return response.end(JSON.stringify(this.#about));
    const name = path === "/" ? "/page/index.html" : path;
    const prefix = Object.keys(FOLDERS).find((it) => name.startsWith(it));
    const file = prefix && join(FOLDERS[prefix], name.slice(prefix.length));
    if (!file || !existsSync(file)) return response.writeHead(404).end();
    response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
    createReadStream(file).pipe(response);
  }

  #upgrade(request, socket, head) {
    if (request.url === "/console") {
      return this.#sockets.handleUpgrade(request, socket, head, (console) => this.#hear(console));
    }
    // The gateway takes the page for one of its own, since its address is that of the request.
    const gateway = connect(Number(this.#gateway.port), this.#gateway.hostname);
    for (const [from, to] of [[socket, gateway], [gateway, socket]]) {
      from.setNoDelay(true);
      from.on("error", () => {}).on("close", () => to.destroy());
    }
    const { method, url, rawHeaders } = request;
    const lines = [`${method} ${url} HTTP/1.1`];
    for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
    gateway.write(`${lines.join("\r\n")}\r\n\r\n`);
    gateway.write(head);
    socket.pipe(gateway).pipe(socket);
  }

  #hear(console) {
    this.#console = console;
    console.on("message", (data) => {
      const { text, id, value, error, runs, failed } = JSON.parse(data);
      if (text !== undefined) this.#listeners.forEach((listener) => listener(text));
      if (runs) this.#settle.resolve();
      if (failed) this.#settle.reject(new Error(`in the page: ${failed}`));
      if (id !== undefined) {
        const answer = this.#answers.get(id);
        if (error === undefined) answer.resolve(value);
        else answer.reject(new Error(error));
      }
    });
  }
}
