// Runs scenarios one at a time, in a browser or in Node, each within its deadline.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { Chromium } from "./chromium.mjs";
import { packageFolder } from "./options.mjs";
import { buildProgram, buildPrograms, PROGRAMS } from "./programs.mjs";
import { Site } from "./site.mjs";
import { StrictGateway } from "./strict-gateway.mjs";
import { Tunnels } from "./tunnels.mjs";
import { VENDOR } from "./vendor.mjs";

const here = import.meta.dirname;
const SCENARIOS = path.resolve(here, "../scenarios");
/** Seconds for a scenario that does not say otherwise, and for the start of a browser. */
const DEADLINE = 60;
const BROWSER_START = 30;
/** Chromium gives up a page that it is loading when an address of the machine changes (ERR_NETWORK_CHANGED). */
const BROWSER_STARTS = 3;

/**
 * The scenarios of a folder whose name contains one of `wanted`; without any, all, and with `everything` those of --full. With
 * `egress` only those that depend on how the gateway's packets leave.
 */
export async function loadScenarios(wanted, { folder = SCENARIOS, everything = true, egress = false } = {}) {
  const scenarios = [];
  for (const file of fs.readdirSync(folder).filter((each) => each.endsWith(".mjs")).sort()) {
    const name = file.slice(0, -".mjs".length);
    if (wanted.length > 0 && !wanted.some((each) => name.includes(each))) continue;
    const scenario = await import(pathToFileURL(path.join(folder, file)).href);
    const { about, deadline = DEADLINE, where = ["chromium", "node"], strict = false, programs = false, full = false, host = {} } = scenario;
    if (egress && !scenario.egress) continue;
    // What downloads much is asked for by its name, or with everything.
    if (full && wanted.length === 0 && !everything) continue;
    scenarios.push({ name, about, deadline, where, strict, programs, host });
  }
  return scenarios;
}

export class Runner {
  #gateway;
  #tunnels = new Tunnels();
  #site;
  #browser;
  #strict;
  #children = new Set();
  #programs;
  #jobs = 0;

  /**
   * @param gateway - its URL
   * @param scenarios - the folder that they are in
   */
  constructor(gateway, scenarios = SCENARIOS) {
    this.#gateway = gateway;
    const client = path.resolve(here, "../client");
    const own = { "/client/": client, "/scenarios/": scenarios, "/webtun/": packageFolder() };
    const mounts = { ...own, "/programs/": PROGRAMS, "/vendor/": VENDOR };
    this.#site = new Site(mounts, this.#tunnels);
  }

  async open() {
    await this.#site.listen();
  }

  /** Runs one scenario; resolves with its figures, rejects with what failed. */
  async run(scenario, where, { mib, full, args, token, relay }) {
    const id = `${++this.#jobs}`;
    if (scenario.programs === true) await (this.#programs ??= buildPrograms());
    else for (const name of scenario.programs || []) await buildProgram(name);
    const gateways = { main: this.#gateway, ...(scenario.strict && { strict: await this.#strictUrl() }) };
    const site = this.#site.origin;
    const tunnels = this.#tunnelCalls(id);
    const reached = () => this.#strict?.reached ?? [];
    const memory = () => this.#browser.memory;
    const tools = { memory, gateway: this.#gateway, strict: this.#strict?.url, reached, ...tunnels };
    const host = { ...tunnels, ...bind(scenario.host, tools) };
    const seconds = scenario.deadline * (full ? 4 : 1);
    const job = { id, name: scenario.name, site, gateway: this.#gateway.href, mib, full, args, token, relay, where };
    if (where === "chromium") await this.#openBrowser();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it hung: no result within ${seconds} s`)), seconds * 1000);
    });
    const result = new Promise((done) => this.#site.register(id, { gateways, host, done }));
    try {
      const lost = where === "node" ? this.#startNode(job) : this.#giveToPage(job);
      // The browser is closed only after its job, and then nobody waits for its end any more.
      lost.catch(() => {});
      const { value, error } = await Promise.race([result, late, lost]);
      if (error !== undefined) throw Object.assign(new Error(error), { reported: true });
      return value;
    } catch (error) {
      // Whatever state the page is in, the next scenario shall not inherit it.
      if (where === "chromium" && !error.reported) await this.#closeBrowser();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#site.forget(id);
      this.#tunnels.forget(id);
      for (const child of this.#children) child.kill("SIGKILL");
    }
  }

  async close() {
    await this.#closeBrowser();
    await this.#strict?.stop();
    this.#site.close();
  }

  /** Leaves no process and no namespace behind when this one is told to end. */
  closeNow() {
    for (const child of this.#children) child.kill("SIGKILL");
    this.#browser?.closeNow();
    this.#strict?.stopNow();
  }

  #tunnelCalls(id) {
    return {
      cut: () => this.#tunnels.cut(id),
      hold: (milliseconds) => this.#tunnels.hold(id, milliseconds),
      tunnels: () => this.#tunnels.count(id),
      octets: () => this.#tunnels.octets(id),
    };
  }

  async #strictUrl() {
    if (this.#strict === undefined) {
      this.#strict = new StrictGateway();
      try {
        await this.#strict.start();
      } catch (error) {
        this.#strict.stopNow();
        this.#strict = undefined;
        throw error;
      }
    }
    return this.#strict.url;
  }

  #startNode(job) {
    const args = [path.join(here, "run-in-node.mjs"), JSON.stringify(job)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "pipe"] });
    this.#children.add(child);
    let log = "";
    child.stderr.on("data", (text) => (log = (log + text).slice(-2000)));
    return new Promise((_, reject) => {
      child.once("exit", (code) => {
        this.#children.delete(child);
        // After a clean exit the result is on its way.
        if (code !== 0) reject(new Error(`Node ended with ${code}: ${log.trim()}`));
      });
    });
  }

  async #openBrowser() {
    if (this.#browser !== undefined) return;
    for (let start = 1; ; start++) {
      const { outcome, log } = await this.#startBrowser();
      if (outcome === "asked") return;
      if (outcome === "ended") throw new Error(`the browser ended at once: ${log}`);
      if (start === BROWSER_STARTS) throw new Error(`no browser of ${start} asked for work within ${BROWSER_START} s: ${log}`);
    }
  }

  /** Leaves a browser open where its page has asked for work. */
  async #startBrowser() {
    const { url, asked } = this.#site.newPage();
    const browser = new Chromium(url);
    this.#browser = browser;
    const late = sleep(BROWSER_START * 1000, "late", { ref: false });
    const outcome = await Promise.race([asked.then(() => "asked"), late, browser.gone.then(() => "ended")]);
    if (outcome !== "asked") await this.#closeBrowser();
    return { outcome, log: browser.log.trim() };
  }

  #giveToPage(job) {
    const browser = this.#browser;
    this.#site.give(job);
    return browser.gone.then(() => Promise.reject(new Error(`the browser died: ${browser.log.trim()}`)));
  }

  async #closeBrowser() {
    const browser = this.#browser;
    this.#browser = undefined;
    await browser?.close();
  }
}

/** The scenario's functions for this process, each with `tools` as its first argument. */
function bind(host, tools) {
  return Object.fromEntries(Object.entries(host).map(([name, call]) => [name, (...args) => call(tools, ...args)]));
}
