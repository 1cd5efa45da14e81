// Builds the programs of tests/emscripten with emcc and the package's own flags, into target/emscripten.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "../../..");
const sources = path.join(root, "tests/emscripten");

export const PROGRAMS = path.join(root, "target/emscripten");

/** Files of C in a folder. */
function sourcesIn(folder) {
  return fs.readdirSync(folder).filter((name) => name.endsWith(".c")).sort().map((name) => path.join(folder, name));
}

async function compile(compiler, args) {
  try {
    await run(compiler, args, { maxBuffer: 1 << 24 });
  } catch (error) {
    if (error.code === "ENOENT") throw new Error(`there is no ${compiler}: apt-get install emscripten gcc`);
    throw new Error(`${compiler}: ${error.stderr || error.message}`);
  }
}

/** Builds all of them, and the conformance program for this machine, too. */
export async function buildPrograms() {
  fs.mkdirSync(PROGRAMS, { recursive: true });
  const { stdout } = await run(process.execPath, [path.join(root, "wasm/npm/bin/webtun.mjs"), "emcc-flags"]);
  const flags = stdout.trim().split(" ");
  const emcc = (name, files) => compile("emcc", ["-O1", ...files, ...flags, "-o", path.join(PROGRAMS, `${name}.js`)]);
  const conformance = sourcesIn(path.join(sources, "conformance"));
  await compile("cc", ["-O1", ...conformance, "-o", path.join(PROGRAMS, "conformance")]);
  await emcc("conformance", conformance);
  await Promise.all(sourcesIn(path.join(sources, "programs")).map((file) => emcc(path.basename(file, ".c"), [file])));
  // em++ links the same.
  const cpp = path.join(sources, "programs/version.cpp");
  await compile("em++", ["-O1", cpp, ...flags, "-o", path.join(PROGRAMS, "version.js")]);
  // What the program is without the C part: only the library.
  const bare = flags.filter((flag) => !flag.endsWith(".o"));
  await compile("emcc", ["-O1", path.join(sources, "programs/get.c"), ...bare, "-o", path.join(PROGRAMS, "bare.js")]);
}
