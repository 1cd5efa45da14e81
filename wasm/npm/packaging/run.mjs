// Packs webtun, installs the tarball into each mini project beside this file, builds it, runs it, and prints one line
// for each. With WEBTUN_URL the projects speak through that gateway with the echo server WEBTUN_ECHO (host:port, by
// default echo.playground.test:7); without it they only show that the stack starts.
//   node packaging/run.mjs [project...]
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openChromium } from "./support/chromium.mjs";
import { servePage } from "./support/server.mjs";

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const TIMEOUT = 60_000;

/** `serve` is the folder that a page is served from; `asFiles` says whether the WebAssembly must be fetched as a file. */
const PROJECTS = {
  types: { kind: "build" },
  "node-esm": { kind: "node", script: "main.mjs" },
  "node-cjs": { kind: "node", script: "main.cjs" },
  "plain-module": { kind: "page", serve: ".", asFiles: true },
  vite: { kind: "page", serve: "dist", asFiles: true },
  webpack: { kind: "page", serve: "dist", asFiles: true },
  esbuild: { kind: "page", serve: "dist", asFiles: false },
};

const { WEBTUN_URL: gateway, WEBTUN_TOKEN: token, WEBTUN_ECHO: echo = "echo.playground.test:7" } = process.env;

function probeConfig(port) {
  const url = `ws://127.0.0.1:${port}/`;
  if (gateway === undefined) return { url };
  const at = echo.lastIndexOf(":");
  return { url, token, echo: { host: echo.slice(0, at), port: Number(echo.slice(at + 1)) } };
}

async function pack(folder) {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: join(here, "..") });
  const listed = JSON.parse(stdout);
  const [{ filename }] = Array.isArray(listed) ? listed : Object.values(listed);
  return join(folder, filename);
}

/** A copy of the project outside this tree, so that nothing is found in a folder above it. */
async function install(name, folder, tarball) {
  const project = join(folder, name);
  cpSync(join(here, name), project, { recursive: true });
  cpSync(join(here, "support"), join(project, "support"), { recursive: true });
  await run("npm", ["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", tarball], { cwd: project });
  const { scripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  if (scripts?.build !== undefined) await run("npm", ["run", "build"], { cwd: project });
  if (existsSync(join(project, "public"))) cpSync(join(project, "public"), join(project, "dist"), { recursive: true });
  return project;
}

async function runNode(project, script) {
  const server = await servePage(project, probeConfig, gateway);
  try {
    const env = { ...process.env, PROBE: JSON.stringify(probeConfig(server.port)) };
    const { stdout } = await run(process.execPath, [script], { cwd: project, env, timeout: TIMEOUT });
    return stdout.trim();
  } finally {
    server.close();
  }
}

async function runPage(root, asFiles) {
  const server = await servePage(root, probeConfig, gateway);
  const browser = openChromium(`http://127.0.0.1:${server.port}/`);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result; fetched ${server.requests.join(" ")}`)), TIMEOUT);
  });
  try {
    const { ok, detail } = await Promise.race([server.result, browser.failed, late]);
    if (!ok) throw new Error(detail);
    const fetched = server.requests.some((path) => path.endsWith(".wasm"));
    if (fetched !== asFiles) throw new Error(`the WebAssembly was ${fetched ? "" : "not "}fetched as a file`);
    return detail;
  } finally {
    clearTimeout(timer);
    await browser.close();
    server.close();
  }
}

async function check(name, folder, tarball) {
  const { kind, script, serve, asFiles } = PROJECTS[name];
  const project = await install(name, folder, tarball);
  if (kind === "build") return "the types check";
  return kind === "node" ? runNode(project, script) : runPage(join(project, serve), asFiles);
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PROJECTS);
const unknown = names.filter((name) => !(name in PROJECTS));
if (unknown.length > 0) {
  console.error(`unknown project: ${unknown.join(", ")}; there are ${Object.keys(PROJECTS).join(", ")}`);
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), "webtun-packaging-"));
try {
  const tarball = await pack(folder);
  for (const name of names) {
    try {
      console.log(`ok   ${name}: ${await check(name, folder, tarball)}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAIL ${name}: ${error.message}\n${error.stdout ?? ""}${error.stderr ?? ""}`.trimEnd());
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
