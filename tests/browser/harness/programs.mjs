// Builds the programs of tests/emscripten with emcc and the package's own flags, into target/emscripten.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { assemble, buildCurl } from "../../../examples/curl/build.mjs";
import { assembleExamples, buildExample } from "../../../examples/programs/build.mjs";
import { assemble as assembleMachine, buildGuest } from "../../../examples/vm/build.mjs";
import { buildWasi } from "../../wasi/build.mjs";
import { buildByReadme } from "./builders.mjs";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "../../..");
const sources = path.join(root, "tests/emscripten");

export const PROGRAMS = path.join(root, "target/emscripten");

/** Those of the example programs that need nothing but libc. */
const PLAIN_EXAMPLES = ["dns", "httpd", "ping"];

/** Files of C in a folder. */
function sourcesIn(folder) {
  return fs.readdirSync(folder).filter((name) => name.endsWith(".c")).sort().map((name) => path.join(folder, name));
}

async function compile(compiler, args) {
  try {
    // Debian's emcc finds some of its own parts only so.
    await run(compiler, args, { maxBuffer: 1 << 24, env: { NODE_PATH: "/usr/share/nodejs", ...process.env } });
  } catch (error) {
    if (error.code === "ENOENT") throw new Error(`there is no ${compiler}: apt-get install emscripten gcc`);
    throw new Error(`${compiler}: ${error.stderr || error.message}`);
  }
}

const conformance = sourcesIn(path.join(sources, "conformance"));

/** The conformance program for this machine. */
const compileNative = () => compile("cc", ["-O1", ...conformance, "-o", path.join(PROGRAMS, "conformance")]);

/** What the package has to say to emcc, or to rustc. */
export async function linkFlags(command = "emcc-flags", ...options) {
  const { stdout } = await run(process.execPath, [path.join(root, "wasm/npm/bin/webtun.mjs"), command, ...options]);
  return stdout.trim().split(" ");
}

/** Scenarios ask for these by name. */
const BY_NAME = {
  async echo() {
    const file = path.join(sources, "programs/echo.c");
    await compile("emcc", ["-O1", file, ...(await linkFlags()), "-o", path.join(PROGRAMS, "echo.js")]);
  },
  builders: () => buildByReadme(path.join(sources, "programs/small.c"), PROGRAMS),
  /** Other ways of waiting: unwinding the stack, and threads. */
  async modes() {
    const unwinding = await linkFlags("emcc-flags", "-sASYNCIFY");
    for (const name of ["echo", "get"]) {
      const files = [path.join(sources, `programs/${name}.c`), "-o", path.join(PROGRAMS, `${name}-asyncify.js`)];
      await compile("emcc", ["-O1", ...unwinding, ...files]);
    }
    const threads = ["-pthread", "-sPTHREAD_POOL_SIZE=12", "-sINITIAL_MEMORY=64MB"];
    const flags = await linkFlags("emcc-flags", "-pthread");
    for (const [name, ...proxy] of [["threads", "-sPROXY_TO_PTHREAD"], ["threads-unproxied"]]) {
      const files = [path.join(sources, "programs/threads.c"), "-o", path.join(PROGRAMS, `${name}.js`)];
      await compile("emcc", ["-O1", ...threads, ...proxy, ...flags, ...files]);
    }
  },
  async "conformance-modes"() {
    await compileNative();
    const unwinding = [...conformance, "-o", path.join(PROGRAMS, "conformance-asyncify.js")];
    await compile("emcc", ["-O1", ...(await linkFlags("emcc-flags", "-sASYNCIFY")), ...unwinding]);
    const threads = ["-pthread", "-sPROXY_TO_PTHREAD", "-sPTHREAD_POOL_SIZE=4", "-sINITIAL_MEMORY=64MB"];
    const threaded = [...conformance, "-o", path.join(PROGRAMS, "conformance-threads.js")];
    await compile("emcc", ["-O1", ...threads, ...(await linkFlags("emcc-flags", "-pthread")), ...threaded]);
  },
  async curl() {
    await buildCurl(PROGRAMS, await linkFlags());
    await assemble(path.join(PROGRAMS, "curl-page"), PROGRAMS);
  },
  /** Without any flag of ours: by emcc's own sockets, which need a page that goes on while the program waits. */
  async "curl-sockfs"() {
    const threads = ["-pthread", "-sPROXY_TO_PTHREAD", "-sINITIAL_MEMORY=64MB", "-sEXIT_RUNTIME=1"];
    await buildCurl(PROGRAMS, threads, "curl-sockfs");
  },
  /** By Debian's newest emcc: with what it brings, JSPI, and without. */
  async suspended() {
    await run(path.join(sources, "latest/prepare.sh"), { maxBuffer: 1 << 26 });
    const latest = path.join(sources, "latest/emcc");
    const cache = path.join(PROGRAMS, "latest");
    fs.mkdirSync(cache, { recursive: true });
    const command = [path.join(root, "wasm/npm/bin/webtun.mjs"), "emcc-flags"];
    const env = { ...process.env, EMCC: latest, WEBTUN_CACHE: cache };
    await compileNative();
    const [get, echo] = ["get", "echo"].map((name) => [path.join(sources, `programs/${name}.c`)]);
    for (const [mode, all, ...flags] of [["latest", { get, conformance }], ["jspi", { get, echo, conformance }, "-sJSPI"]]) {
      const { stdout } = await run(process.execPath, [...command, ...flags], { env });
      for (const [name, files] of Object.entries(all)) {
        const output = ["-o", path.join(PROGRAMS, `${name}-${mode}.js`)];
        await compile(latest, ["-O1", ...files, ...stdout.trim().split(" "), ...output]);
      }
    }
  },
  /** By emcc's own sockets, as an emulator's are that is built by it. */
  async ethernet() {
    await compile("emcc", ["-O1", path.join(sources, "ethernet.c"), "-o", path.join(PROGRAMS, "ethernet.js")]);
  },
  /** With our sockets, and with emcc's own, which need a program that returns to the page. */
  async flows() {
    const source = path.join(sources, "flows.c");
    const output = (name) => ["-o", path.join(PROGRAMS, `${name}.js`), "-sALLOW_MEMORY_GROWTH=1", "-sEXIT_RUNTIME=1"];
    await compile("emcc", ["-O1", source, ...(await linkFlags()), ...output("flows")]);
    await compile("emcc", ["-O1", "-DRETURNING", "-sASYNCIFY", source, ...output("flows-sockfs")]);
  },
  iperf3: async () => buildExample("iperf3", PROGRAMS, await linkFlags()),
  redis: async () => buildExample("redis", PROGRAMS, await linkFlags()),
  postgres: async () => buildExample("postgres", PROGRAMS, await linkFlags()),
  ssh: async () => buildExample("ssh", PROGRAMS, await linkFlags()),
  async examples() {
    const flags = await linkFlags();
    await Promise.all(PLAIN_EXAMPLES.map((name) => buildExample(name, PROGRAMS, flags)));
    await assembleExamples(path.join(PROGRAMS, "examples-page"), PROGRAMS);
  },
  async vm() {
    await buildGuest();
    await assembleMachine(path.join(PROGRAMS, "vm-page"));
  },
  wasi: () => buildWasi(PROGRAMS),
  async rust() {
    const target = "wasm32-unknown-emscripten";
    const folder = path.join(PROGRAMS, "rust");
    const args = ["build", "--quiet", "--package", "std-net", "--target", target, "--target-dir", folder];
    const env = { ...process.env, RUSTFLAGS: (await linkFlags("rustc-flags")).join(" ") };
    await run("cargo", args, { cwd: root, env });
    for (const each of ["std-net.js", "std_net.wasm"]) {
      fs.copyFileSync(path.join(folder, target, "debug", each), path.join(PROGRAMS, each));
    }
  },
};

const built = new Map();

/** Builds it once in a run. */
export async function buildProgram(name) {
  fs.mkdirSync(PROGRAMS, { recursive: true });
  if (!built.has(name)) built.set(name, BY_NAME[name]());
  await built.get(name);
}

/** Builds all of ours, and the conformance program for this machine, too. */
export async function buildPrograms() {
  fs.mkdirSync(PROGRAMS, { recursive: true });
  const flags = await linkFlags();
  const emcc = (name, files) => compile("emcc", ["-O1", ...files, ...flags, "-o", path.join(PROGRAMS, `${name}.js`)]);
  await compileNative();
  await emcc("conformance", conformance);
  const plain = sourcesIn(path.join(sources, "programs")).filter((file) => !file.endsWith("threads.c"));
  await Promise.all(plain.map((file) => emcc(path.basename(file, ".c"), [file])));
  await Promise.all(PLAIN_EXAMPLES.map((name) => buildExample(name, PROGRAMS, flags)));
  // em++ links the same.
  const cpp = path.join(sources, "programs/version.cpp");
  await compile("em++", ["-O1", cpp, ...flags, "-o", path.join(PROGRAMS, "version.js")]);
  // Without any of our flags: emcc's own sockets.
  await compile("emcc", ["-O1", path.join(sources, "sockfs.c"), "-o", path.join(PROGRAMS, "sockfs.js")]);
  // What the program is without the C part: only the library.
  const bare = flags.filter((flag) => !flag.endsWith(".o"));
  await compile("emcc", ["-O1", path.join(sources, "programs/get.c"), ...bare, "-o", path.join(PROGRAMS, "bare.js")]);
}
