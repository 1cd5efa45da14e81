// What a page loads that uses the slim entry: bundled, minified and compressed, as it comes over the wire.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Octets of JavaScript and WebAssembly together, each compressed by gzip. */
const LIMIT = 150_000;

const inDist = (name) => fileURLToPath(new URL(`../dist/${name}`, import.meta.url));

/** The outputs that are loaded with `entry`, without those that are fetched only when they are used. */
function loadedWith(entry, outputs) {
  const found = new Set([entry]);
  for (const name of found) {
    for (const { path, kind } of outputs[name].imports) if (kind === "import-statement") found.add(path);
  }
  return found;
}

test("the slim entry is small", async (t) => {
  const { outputFiles, metafile } = await build({
    entryPoints: [inDist("slim.js")],
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    outdir: "out",
    metafile: true,
    write: false,
  });
  const compressed = (octets) => gzipSync(octets, { level: 9 }).length;
  const entry = Object.keys(metafile.outputs).find((name) => name.endsWith("/slim.js"));
  const loaded = [...loadedWith(entry, metafile.outputs)];
  const files = loaded.map((name) => outputFiles.find(({ path }) => path.endsWith(`/${name}`)));
  const script = files.reduce((sum, { contents }) => sum + compressed(contents), 0);
  const wasm = compressed(readFileSync(inDist("webtun_slim_bg.wasm")));
  const sizes = `${script + wasm} octets: ${script} of JavaScript and ${wasm} of WebAssembly, at most ${LIMIT}`;
  t.diagnostic(sizes);
  assert.ok(script + wasm <= LIMIT, sizes);
});
