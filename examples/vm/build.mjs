// Builds the page with a virtual machine: `node build.mjs` makes the guest and dist/www, all that is to be served.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const here = import.meta.dirname;
const root = path.resolve(here, "../..");

/** Where the guest is made, and kept: the tests of virtual machines use the same. */
export const GUEST = path.join(root, "target/vm-guest");

/** What of others is served: folder in the page, folder of theirs, files. */
const LIBRARIES = [
  ["xterm", "@xterm/xterm/lib", ["xterm.mjs"]],
  ["xterm", "@xterm/xterm/css", ["xterm.css"]],
  ["uplot", "uplot/dist", ["uPlot.esm.js", "uPlot.min.css"]],
  ["v86", "v86/build", ["libv86.mjs", "v86.wasm"]],
];
const IMAGES = ["bzImage", "initrd.gz", "bios.bin", "vgabios.bin"];

/** Makes the guest, unless it is there: kernel, programs, and what its `pkg install` takes. */
export async function buildGuest() {
  try {
    await run("python3", [path.join(here, "guest/build.py"), "--out", GUEST], { maxBuffer: 1 << 26 });
  } catch (error) {
    if (error.code === "ENOENT") throw new Error("there is no python3, which makes the guest");
    throw new Error(`the guest cannot be made (it needs apt-get of a Debian): ${(error.stderr || error.message).slice(-2000)}`);
  }
}

/** Makes `folder` what a server has to serve: the page, its libraries, the package and the guest. */
export async function assemble(folder) {
  if (!fs.existsSync(path.join(here, "node_modules"))) await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: here });
  fs.rmSync(folder, { recursive: true, force: true });
  const put = (from, ...to) => fs.cpSync(from, path.join(folder, ...to), { recursive: true });
  put(path.join(here, "page"));
  // The two pages look alike.
  put(path.join(here, "../demo/lib"), "demo/lib");
  put(path.join(here, "../demo/style.css"), "demo/style.css");
  put(path.join(root, "wasm/npm/dist"), "webtun");
  for (const [to, from, files] of LIBRARIES) {
    for (const file of files) put(path.join(here, "node_modules", from, file), to, file);
  }
  for (const image of IMAGES) put(path.join(GUEST, image), "guest", image);
}

async function main() {
  await buildGuest();
  await assemble(path.join(here, "dist/www"));
}

if (process.argv[1] === import.meta.filename) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
