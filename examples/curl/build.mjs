// Builds curl, unmodified and with TLS by Mbed TLS, for pages: `node build.mjs` makes dist/www, all that is to be served.
// Sources and objects are kept in dist/curl, so that a second build only links, if at all.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const here = import.meta.dirname;

/** Debian's copies of the releases: an archive with one folder each. */
const SOURCES = {
  mbedtls: {
    place: "m/mbedtls/mbedtls_2.28.3.orig.tar.gz",
    sha256: "3b4953aa55a681e084d31892d9904cc5328d6b4958ea57b90ae4b4f94ae69a8d",
  },
  curl: {
    place: "c/curl/curl_7.88.1.orig.tar.gz",
    sha256: "cdb38b72e36bc5d33d5b8810f8018ece1baa29a8f215b4495e495ded82bbf3c7",
  },
};

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");

/** Runs a program of emcc's, whose complaints become the error. */
async function emscripten(program, args, cwd) {
  try {
    // Debian's emcc finds some of its own parts only so.
    const env = { NODE_PATH: "/usr/share/nodejs", ...process.env };
    return (await run(program, args, { cwd, env, maxBuffer: 1 << 26 })).stdout;
  } catch (error) {
    if (error.code === "ENOENT") throw new Error(`there is no ${program}: apt-get install emscripten`);
    throw new Error(`${program}: ${(error.stderr || error.message).slice(-4000)}`);
  }
}

/** Calls `make(unfinished)` unless `file` is there; nothing half made ever has that name. */
async function once(file, make) {
  if (fs.existsSync(file)) return file;
  const unfinished = `${file}.${process.pid}`;
  await make(unfinished);
  // Another build may have been faster; a folder cannot be replaced.
  if (fs.existsSync(file)) fs.rmSync(unfinished, { recursive: true });
  else fs.renameSync(unfinished, file);
  return file;
}

/** Where this machine has its packages from: the releases lie there, too. */
async function mirror() {
  const { stdout } = await run("apt-get", ["download", "--print-uris", "base-files"]).catch(() => ({ stdout: "" }));
  const [, found] = /'(.+\/pool\/main)\//.exec(stdout) ?? [];
  if (found === undefined) throw new Error("apt-get names no mirror of Debian, where the sources are: apt-get update");
  return found;
}

/**
 * The folder in `cache` with the sources of a release.
 *
 * @param source - `place` in the pool of Debian's mirrors, and the archive's `sha256`
 */
export async function unpacked({ place, sha256: expected }, cache) {
  const archive = await once(path.join(cache, path.basename(place)), async (file) => {
    const url = `${await mirror()}/${place}`;
    await run("curl", ["--fail", "--silent", "--show-error", "--location", "--retry", "3", "--output", file, url]);
    const found = sha256(fs.readFileSync(file));
    if (found === expected) return;
    fs.rmSync(file);
    throw new Error(`${url} has the hash ${found}, and not ${expected}`);
  });
  return once(archive.replace(".orig.tar.gz", ""), async (folder) => {
    fs.mkdirSync(folder);
    await run("tar", ["-xzf", archive, "-C", folder, "--strip-components=1"]);
  });
}

/** Files of C in these folders. */
function sourcesIn(...folders) {
  const filesOf = (folder) => fs.readdirSync(folder).map((name) => path.join(folder, name));
  return folders.flatMap(filesOf).filter((file) => file.endsWith(".c")).sort();
}

/** What objects must be allowed to use so that programs with threads, too, can be linked from them; browsers have both. */
const FEATURES = ["-matomics", "-mbulk-memory"];

/** Objects; emcc takes many files at a time, which spares its start, and there are as many of it as cores. */
export async function objects(cache, name, version, options, files) {
  const config = fs.readFileSync(path.join(here, "curl_config.h"));
  const key = sha256(version, JSON.stringify([FEATURES, options, files]), config).slice(0, 16);
  const folder = await once(path.join(cache, `${name}-${key}`), async (unfinished) => {
    fs.mkdirSync(unfinished);
    const shares = Array.from({ length: os.availableParallelism() }, () => []);
    files.forEach((file, index) => shares[index % shares.length].push(file));
    const compile = (share) => emscripten("emcc", ["-c", "-O2", "-w", ...FEATURES, ...options, ...share], unfinished);
    await Promise.all(shares.filter((share) => share.length > 0).map(compile));
  });
  return fs.readdirSync(folder).map((each) => path.join(folder, each));
}

/** What emcc says about itself. */
export const compiler = async () => (await emscripten("emcc", ["--version"])).split("\n")[0];

/** Mbed TLS, as it is configured by default: its objects, and the folder of its headers. */
export async function mbedtls(cache) {
  const folder = await unpacked(SOURCES.mbedtls, cache);
  const include = path.join(folder, "include");
  const files = sourcesIn(path.join(folder, "library"));
  return { include, objects: await objects(cache, "mbedtls-objects", await compiler(), [`-I${include}`], files) };
}

async function compiled(cache) {
  const version = await compiler();
  const tls = await mbedtls(cache);
  const curl = await unpacked(SOURCES.curl, cache);
  const include = (...folders) => folders.map((folder) => `-I${folder}`);
  const lib = path.join(curl, "lib");
  const common = ["-DHAVE_CONFIG_H", "-DCURL_STATICLIB", ...include(here, path.join(curl, "include"), lib)];
  const parts = {
    lib: [
      ["-DBUILDING_LIBCURL", ...common, ...include(tls.include)],
      sourcesIn(...["", "vauth", "vquic", "vtls"].map((folder) => path.join(lib, folder))),
    ],
    // The command has a copy of dynbuf.c, whose functions then have other names.
    tool: [common, [...sourcesIn(path.join(curl, "src")), path.join(lib, "dynbuf.c")]],
  };
  const all = [...tls.objects];
  for (const [name, [options, files]] of Object.entries(parts)) {
    all.push(...(await objects(cache, `${name}-objects`, version, options, files)));
  }
  return all;
}

/**
 * Builds it into `folder`.
 *
 * @param flags - what `npx webtun emcc-flags` has printed, as a list, or other flags for the linker
 * @param name - of the program
 */
export async function buildCurl(folder, flags, name = "curl") {
  const cache = path.join(folder, "curl");
  fs.mkdirSync(cache, { recursive: true });
  const parts = await compiled(cache);
  const settings = ["-sALLOW_MEMORY_GROWTH=1"];
  const library = flags.filter((flag) => fs.existsSync(flag)).map((flag) => fs.readFileSync(flag));
  const key = sha256(JSON.stringify([parts, flags, settings]), ...library);
  const stamp = path.join(cache, `${name}-linked`);
  const linked = fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === key;
  if (linked && fs.existsSync(path.join(folder, `${name}.wasm`))) return;
  await emscripten("emcc", ["-O1", ...parts, ...flags, ...settings, "-o", path.join(folder, `${name}.js`)]);
  fs.writeFileSync(stamp, key);
}

/**
 * Makes `folder` what a server has to serve: the page, the terminal, the package and programs.
 *
 * @param programs - those that the terminal has, each with a line to try
 */
export async function assemble(folder, built, programs = { curl: "curl -sS http://www.playground.test/" }) {
  if (!fs.existsSync(path.join(here, "node_modules"))) await run("npm", ["ci"], { cwd: here });
  const xterm = path.join(here, "node_modules/@xterm/xterm");
  fs.rmSync(folder, { recursive: true, force: true });
  fs.cpSync(path.join(here, "page"), folder, { recursive: true });
  fs.cpSync(path.join(here, "../../wasm/npm/dist"), path.join(folder, "webtun"), { recursive: true });
  fs.mkdirSync(path.join(folder, "xterm"));
  fs.copyFileSync(path.join(xterm, "lib/xterm.mjs"), path.join(folder, "xterm/xterm.mjs"));
  fs.copyFileSync(path.join(xterm, "css/xterm.css"), path.join(folder, "xterm/xterm.css"));
  fs.writeFileSync(path.join(folder, "programs.json"), JSON.stringify(programs));
  for (const name of Object.keys(programs).flatMap((each) => [`${each}.js`, `${each}.wasm`])) {
    fs.copyFileSync(path.join(built, name), path.join(folder, name));
  }
}

if (process.argv[1] === import.meta.filename) {
  const built = path.join(here, "dist");
  const { stdout } = await run(process.execPath, [path.join(here, "../../wasm/npm/bin/webtun.mjs"), "emcc-flags"]);
  await buildCurl(built, stdout.trim().split(" "));
  await assemble(path.join(built, "www"), built);
}
