// Bundles parts of src/ that the package does not export, so that tests can reach them.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Imports modules of src/, named without their ending, in one bundle, so that they share their classes. */
export async function internals(...names) {
  const contents = names.map((name) => `export * from "./src/${name}.ts";`).join("\n");
  const outfile = join(root, "node_modules", ".cache", "webtun-test", `${names.join("+").replaceAll("/", "_")}.mjs`);
  mkdirSync(dirname(outfile), { recursive: true });
  await build({
    stdin: { contents, resolveDir: root, loader: "ts" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    outfile,
    logLevel: "warning",
  });
  return import(pathToFileURL(outfile).href);
}
