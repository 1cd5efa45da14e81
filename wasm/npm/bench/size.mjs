// What a page loads that uses the slim entry: bundled, minified and compressed, as it comes over the wire. Writes a line
// `FIGURE OCTETS` for each kind.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const inDist = (name) => fileURLToPath(new URL(`../dist/${name}`, import.meta.url));
const compressed = (octets) => gzipSync(octets, { level: 9 }).length;

const { outputFiles } = await build({
  entryPoints: [inDist("slim.js")],
  bundle: true,
  minify: true,
  format: "esm",
  write: false,
  // That modules without side effects are left out is no news.
  logLevel: "error",
});
const script = compressed(outputFiles[0].contents);
const wasm = compressed(readFileSync(inDist("webtun_slim_bg.wasm")));
console.log(`JavaScript ${script}\nWebAssembly ${wasm}\ntogether ${script + wasm}`);
