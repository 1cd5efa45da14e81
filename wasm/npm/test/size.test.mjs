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

test("the slim entry is small", async (t) => {
  const { outputFiles } = await build({
    entryPoints: [inDist("slim.js")],
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
  });
  const compressed = (octets) => gzipSync(octets, { level: 9 }).length;
  const script = compressed(outputFiles[0].contents);
  const wasm = compressed(readFileSync(inDist("webtun_bg.wasm")));
  const sizes = `${script + wasm} octets: ${script} of JavaScript and ${wasm} of WebAssembly, at most ${LIMIT}`;
  t.diagnostic(sizes);
  assert.ok(script + wasm <= LIMIT, sizes);
});
