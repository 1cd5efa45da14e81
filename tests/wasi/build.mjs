// Builds the programs of this folder, and the Worker that runs them in a page.
import { execFile } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const here = import.meta.dirname;
const root = path.resolve(here, "../..");

async function buildAssembly(name, folder) {
  const compiler = path.join(here, "node_modules/assemblyscript/bin/asc.js");
  const source = path.join(here, `assembly/${name}.ts`);
  const flags = ["--runtime", "stub", "--exportStart", "_start", "--use", "abort="];
  await run(process.execPath, [compiler, source, ...flags, "-o", path.join(folder, `assembly-${name}.wasm`)]);
}

/** A program of cargo for one of its targets for WASI; gives its file. */
async function buildRust(folder, name, target, args) {
  const output = path.join(root, "target/wasi-programs");
  await run("cargo", ["build", "--quiet", "--target", target, "--target-dir", output, ...args], { cwd: folder });
  return path.join(output, target, "debug", `${name}.wasm`);
}

/** What jco makes of a component: modules, and the script that joins them with their imports. */
async function transpileComponent(file, folder) {
  const { transpileBytes } = await import("@bytecodealliance/jco-transpile");
  const options = { name: "component", instantiation: "async", emitTypescriptDeclarations: false };
  const { files } = await transpileBytes(await fs.promises.readFile(file), options);
  fs.mkdirSync(folder, { recursive: true });
  for (const [name, octets] of Object.entries(files)) {
    if (!name.endsWith(".d.ts")) fs.writeFileSync(path.join(folder, name), octets);
  }
  // Beside it is no package that would say so.
  fs.writeFileSync(path.join(folder, "package.json"), '{ "type": "module" }\n');
}

/** One file with the shim in it, beside the package. */
async function bundleWorker(folder) {
  const { build } = createRequire(path.join(root, "wasm/npm/package.json"))("esbuild");
  await build({
    entryPoints: [path.join(here, "worker/page.mjs")],
    outfile: path.join(folder, "wasi-worker.js"),
    external: ["/webtun/*"],
    bundle: true,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
  });
}

export async function buildWasi(folder) {
  if (!fs.existsSync(path.join(here, "node_modules"))) throw new Error("tests/wasi/node_modules is missing: npm ci there");
  const wasmedge = buildRust(path.join(here, "wasmedge"), "wasmedge-program", "wasm32-wasip1", []);
  const stdNet = buildRust(root, "std-net", "wasm32-wasip2", ["--package", "std-net"]);
  await Promise.all([bundleWorker(folder), buildAssembly("fetch", folder), buildAssembly("minimal", folder)]);
  fs.copyFileSync(await wasmedge, path.join(folder, "wasmedge.wasm"));
  await transpileComponent(await stdNet, path.join(folder, "std-net-component"));
}
