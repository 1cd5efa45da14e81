// Builds dist/ from src/ and generated/ (the output of wasm-bindgen, target web). `cargo xtask npm` runs all of it.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const inside = (...parts) => join(here, ...parts);

const MODULES = ["webtun_bg.wasm", "webtun_slim_bg.wasm", "webtun_ethernet_bg.wasm", "webtun_http_bg.wasm", "webtun_tls_bg.wasm"];

/** The default bindings export a loader of their own, which is not used; esbuild drops it. */
const common = {
  bundle: true,
  target: "es2022",
  absWorkingDir: here,
  logLevel: "warning",
  legalComments: "none",
};

function fail(message) {
  console.error(`webtun: ${message}`);
  process.exit(1);
}

/** Type declarations; once more for CommonJS, whose own package.json says what they are. */
function declareTypes() {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", here], { stdio: "inherit" });
  if (status !== 0) fail("the types do not check");
  cpSync(inside("dist/types"), inside("dist/cjs/types"), { recursive: true });
  writeFileSync(inside("dist/cjs/package.json"), '{ "type": "commonjs" }\n');
}

/** The Worker's script twice: as a file, and as text inside a module together with the WebAssembly. */
async function buildWorker() {
  const worker = { ...common, entryPoints: ["src/worker.ts"], format: "esm", minify: true };
  await build({ ...worker, outfile: "dist/worker.js" });
  const { outputFiles } = await build({ ...worker, write: false });
  const wasm = readFileSync(inside("generated/webtun_bg.wasm")).toString("base64");
  const constants = { workerSource: outputFiles[0].text, wasmBase64: wasm };
  const lines = Object.entries(constants).map(([name, text]) => `export const ${name} = ${JSON.stringify(text)};\n`);
  writeFileSync(inside("generated/assets.js"), lines.join(""));
}

/** What runs in webR's Worker before R, as text inside a module. */
async function buildPrelude() {
  const { outputFiles } = await build({
    ...common,
    entryPoints: ["src/webr/prelude.ts"],
    format: "iife",
    external: ["node:worker_threads"],
    minify: true,
    write: false,
  });
  writeFileSync(inside("generated/webr.js"), `export const webrPrelude = ${JSON.stringify(outputFiles[0].text)};\n`);
}

async function buildEntries() {
  const same = ["index", "inline", "pyodide", "slim", "v86", "webr", "websocket"].map((name) => [name, `src/${name}.ts`]);
  const own = ["http", "tls"].map((name) => [name, `src/${name}-browser.ts`]);
  const browser = Object.fromEntries([...same, ...own]);
  const page = { ...common, format: "esm", minify: true, splitting: true, chunkNames: "chunk-[hash]" };
  await build({ ...page, entryPoints: browser, outdir: "dist" });
  // By themselves: what they have in common with the others would else cut these into more pieces.
  await build({ ...page, entryPoints: { ethernet: "src/ethernet-browser.ts", wasi: "src/wasi-browser.ts" }, outdir: "dist" });
  await build({ ...common, entryPoints: { wire: "src/wire/index.ts" }, outdir: "dist", format: "esm" });
  const entries = ["node", "ethernet-node", "http-node", "tls-node", "wasi-node"].map((name) => `src/${name}.ts`);
  const node = { ...common, entryPoints: entries, outdir: "dist", platform: "node", target: "node20", external: ["ws"] };
  await build({ ...node, format: "esm" });
  await build({
    ...node,
    format: "cjs",
    outExtension: { ".js": ".cjs" },
    define: { "import.meta.url": "moduleUrl" },
    banner: { js: 'const moduleUrl = require("node:url").pathToFileURL(__filename).href;' },
  });
}

/** The emcc library with its runtime inside, for the syntax that the oldest emcc's own tools can read. */
async function buildEmscripten() {
  const { outputFiles } = await build({
    ...common,
    entryPoints: ["src/emscripten/library.ts"],
    format: "iife",
    globalName: "webtunRuntime",
    platform: "neutral",
    external: ["node:worker_threads"],
    target: "es2019",
    minify: true,
    write: false,
  });
  const runtime = outputFiles[0].text.replaceAll("\n", " ");
  if (runtime.includes("{{{")) fail("the runtime has what emcc takes for a macro");
  cpSync(inside("emscripten"), inside("dist/emscripten"), { recursive: true });
  const library = readFileSync(inside("emscripten/library.js"), "utf8");
  const filled = library.replace('"@RUNTIME@"', () => JSON.stringify(runtime));
  for (const name of ["library.js", "README.md"]) rmSync(inside("dist/emscripten", name));
  writeFileSync(inside("dist/emscripten/webtun-library.js"), filled);
}

if (MODULES.some((name) => !existsSync(inside("generated", name)))) fail("generated/ is missing: run cargo xtask npm");
writeFileSync(
  inside("generated/assets.d.ts"),
  "export const workerSource: string;\nexport const wasmBase64: string;\n",
);
writeFileSync(inside("generated/webr.d.ts"), "export const webrPrelude: string;\n");
rmSync(inside("dist"), { recursive: true, force: true });
mkdirSync(inside("dist"));
declareTypes();
await buildWorker();
await buildPrelude();
await buildEntries();
await buildEmscripten();
for (const name of MODULES) cpSync(inside("generated", name), inside("dist", name));
