// node size.mjs ENTRY: what a page loads that uses the entry: bundled, minified and compressed, as it comes over the wire.
// Writes a line `FIGURE OCTETS` for each kind. The Worker of the default entry is a script of its own.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const scripts = { slim: ["slim.js"], index: ["index.js", "worker.js"] }[process.argv[2]];
const inDist = (name) => fileURLToPath(new URL(`../dist/${name}`, import.meta.url));
const compressed = (octets) => gzipSync(octets, { level: 9 }).length;

const built = scripts.map((name) =>
  build({ entryPoints: [inDist(name)], bundle: true, minify: true, format: "esm", write: false }),
);
const script = (await Promise.all(built)).reduce((sum, { outputFiles }) => sum + compressed(outputFiles[0].contents), 0);
const wasm = compressed(readFileSync(inDist("webtun_bg.wasm")));
console.log(`JavaScript ${script}\nWebAssembly ${wasm}\ntogether ${script + wasm}`);
