// Builds the example programs for pages: `node build.mjs` makes dist/www, all that is to be served. Sources of others and
// their objects are kept in dist, so that a second build is short.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { assemble, buildCurl, compiler, mbedtls, objects, unpacked } from "../curl/build.mjs";
import { libpq } from "./libpq.mjs";

const run = promisify(execFile);
const here = import.meta.dirname;

/** Debian's copies of the releases. */
const HIREDIS = {
  place: "h/hiredis/hiredis_0.14.1.orig.tar.gz",
  sha256: "2663b2aed9fd430507e30fc5e63274ee40cdd1a296026e22eafd7d99b01c8913",
};
const LIBSSH2 = {
  place: "libs/libssh2/libssh2_1.10.0.orig.tar.gz",
  sha256: "2d64e90f3ded394b91d3a2e774ca203a4179f69aebee03003e5a6fa621e41d51",
};

const IPERF3 = {
  place: "i/iperf3/iperf3_3.9.orig.tar.gz",
  sha256: "24b63a26382325f759f11d421779a937b63ca1bc17c44587d2fcfedab60ac038",
};

/**
 * A library's files and objects, the options for them and the program, and the program where it is not ours; all is kept in
 * `folder`.
 */
const LIBRARIES = {
  async redis(folder) {
    const sources = await unpacked(HIREDIS, folder);
    const files = ["hiredis", "net", "read", "sds", "alloc"].map((name) => path.join(sources, `${name}.c`));
    return { files, options: [`-I${sources}`] };
  },
  postgres: libpq,
  async iperf3(folder) {
    const sources = path.join(await unpacked(IPERF3, folder), "src");
    const all = fs.readdirSync(sources).filter((name) => name.endsWith(".c") && !name.startsWith("t_"));
    const files = all.filter((name) => name !== "main.c").map((name) => path.join(sources, name));
    return { files, options: [`-I${path.join(here, "iperf3")}`, `-I${sources}`], program: path.join(sources, "main.c") };
  },
  async ssh(folder) {
    const sources = await unpacked(LIBSSH2, folder);
    const cache = path.join(folder, "curl");
    fs.mkdirSync(cache, { recursive: true });
    const tls = await mbedtls(cache);
    const others = ["agent_win", "libgcrypt", "openssl", "wincng", "os400qc3"];
    const all = fs.readdirSync(path.join(sources, "src")).filter((name) => name.endsWith(".c"));
    const files = all.filter((name) => !others.includes(path.parse(name).name));
    const include = [path.join(here, "libssh2"), path.join(sources, "include"), path.join(sources, "src"), tls.include];
    return {
      files: files.map((name) => path.join(sources, "src", name)),
      built: tls.objects,
      options: ["-DHAVE_CONFIG_H", ...include.map((each) => `-I${each}`)],
    };
  },
};

/** The programs in the order in which the page names them, each with a line to try against the playground. */
export const EXAMPLES = {
  curl: "curl -sS http://www.playground.test/",
  ping: "ping www.playground.test 64",
  dns: "dns 198.18.0.2 big.playground.test",
  httpd: "httpd 1",
  redis: "redis HOST 6379 SET key value",
  postgres: "postgres HOST 5432 PASSWORD 'SELECT version()'",
  iperf3: "iperf3 -c iperf.playground.test -R",
  ssh: "ssh HOST 22 USER PRIVATE PUBLIC FINGERPRINT uname",
};

/**
 * Builds one program of `src` into `folder`.
 *
 * @param flags - what `npx webtun emcc-flags` has printed, as a list
 */
export async function buildExample(name, folder, flags) {
  const own = path.join(here, "src", `${name}.c`);
  const { files = [], built = [], options = [], program = own } = (await LIBRARIES[name]?.(folder)) ?? {};
  const library = files.length === 0 ? [] : await objects(folder, `${name}-objects`, await compiler(), options, files);
  const args = ["-O1", "-w", ...options, program, ...library, ...built, ...flags];
  // Debian's emcc finds some of its own parts only so.
  const env = { NODE_PATH: "/usr/share/nodejs", ...process.env };
  const output = ["-sALLOW_MEMORY_GROWTH=1", "-o", path.join(folder, `${name}.js`)];
  try {
    await run("emcc", [...args, ...output], { maxBuffer: 1 << 26, env });
  } catch (error) {
    if (error.code === "ENOENT") throw new Error("there is no emcc: apt-get install emscripten");
    throw new Error(`emcc: ${(error.stderr || error.message).slice(-4000)}`);
  }
}

/** The page with those of the programs that are built in `built`. */
export async function assembleExamples(folder, built) {
  const names = Object.keys(EXAMPLES).filter((name) => fs.existsSync(path.join(built, `${name}.wasm`)));
  await assemble(folder, built, Object.fromEntries(names.map((name) => [name, EXAMPLES[name]])));
}

if (process.argv[1] === import.meta.filename) {
  const built = path.join(here, "dist");
  fs.mkdirSync(built, { recursive: true });
  const { stdout } = await run(process.execPath, [path.join(here, "../../wasm/npm/bin/webtun.mjs"), "emcc-flags"]);
  const flags = stdout.trim().split(" ");
  await buildCurl(built, flags);
  for (const name of Object.keys(EXAMPLES).filter((each) => each !== "curl")) await buildExample(name, built, flags);
  await assembleExamples(path.join(built, "www"), built);
}
