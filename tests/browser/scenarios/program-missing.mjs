import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a program without its network, its C part, its library, shared memory or a Worker says what to do";
export const programs = true;
/** emcc may have to make its libraries for threads first. */
export const deadline = 180;

export const host = {
  /** What emcc says to a link with these flags in place of those that belong to its options. */
  async link(_tools, source, output, keeps, ...options) {
    const { execFileSync } = await import("node:child_process");
    const path = await import("node:path");
    const { linkFlags, PROGRAMS } = await import("../harness/programs.mjs");
    const file = path.resolve(import.meta.dirname, `../../emscripten/programs/${source}.c`);
    const flags = (await linkFlags()).filter((flag) => keeps === "all" || flag.endsWith(".o"));
    const env = { NODE_PATH: "/usr/share/nodejs", ...process.env };
    try {
      execFileSync("emcc", [file, ...flags, ...options, "-o", path.join(PROGRAMS, `${output}.js`)], { stdio: "pipe", env });
    } catch (error) {
      return String(error.stderr);
    }
    return "nothing";
  },
};

export default async function (t) {
  const net = await t.open();
  await attachedLate(t, net);
  const { lines } = await within(Program.run(t, net, "version"), "a program in C++");
  t.equal(lines.join(), "a socket", "a program in C++ says");

  const bare = Program.run(t, net, "bare", "www.playground.test", "/");
  const { errors } = await within(bare, "a program without the C part");
  t.check(errors.some((each) => /npx webtun emcc-flags/.test(each)), `it says ${errors.join(" / ")}`);
  await linkedWrongly(t, net);

  if (t.where === "chromium") {
    await withoutSharedMemory(t, net);
    await inThePage(t);
  }
  await net.close();
  const after = await within(Program.run(t, net, "echo", "192.0.2.1", "7", "sequential", "1"), "a program without a stack");
  t.equal(`${after.exit} ${after.lines.join()}`, "1 connect: Network is down", "a program whose tunnel is closed says");
}

/** Without the library, and with flags of another way of waiting. */
async function linkedWrongly(t, net) {
  const bare = await t.host("link", "small", "never", "objects");
  t.check(/undefined symbol: webtun_\w+/.test(bare), `a link without the library says ${bare}`);
  const unwound = await t.host("link", "get", "never", "all", "-sASYNCIFY");
  t.check(/npx webtun emcc-flags -sASYNCIFY/.test(unwound), `a link that is to be unwound says ${unwound}`);
  if (t.where !== "chromium") return;
  const options = ["-pthread", "-sPROXY_TO_PTHREAD", "-sINITIAL_MEMORY=64MB"];
  t.equal(await t.host("link", "get", "get-unthreaded", "all", ...options), "nothing", "a link with threads says");
  const program = Program.run(t, net, "get-unthreaded", "www.playground.test", "/");
  const { errors } = await within(program, "a program with threads and a C part without");
  t.check(errors.some((each) => /npx webtun emcc-flags -pthread/.test(each)), `it says ${errors.join(" / ")}`);
}

async function attachedLate(t, net) {
  const waiting = await Program.start(t, undefined, "get", "www.playground.test", "/");
  const line = await within(waiting.line(/webtun:/), "a word about a program that was not attached");
  t.check(/net\.attach\(worker\)/.test(line), line);
  net.attach(waiting.worker);
  const { exit } = await within(waiting.ended, "the program, attached late");
  t.equal(exit, 0, "its exit status");
}

/** The page is told at once, and the program where the page was not asked. */
async function withoutSharedMemory(t, net) {
  const alone = await Program.start(t, undefined, { program: "small", without: "SharedArrayBuffer" });
  const line = await within(alone.line(/webtun:/), "a word about shared memory");
  t.check(/Cross-Origin-Opener-Policy/.test(line), line);
  const { SharedArrayBuffer } = globalThis;
  delete globalThis.SharedArrayBuffer;
  let words = "nothing";
  try {
    net.attach(alone.worker);
  } catch (error) {
    words = error.message;
  }
  globalThis.SharedArrayBuffer = SharedArrayBuffer;
  alone.worker.terminate();
  t.check(/Cross-Origin-Embedder-Policy/.test(words), `attach() says ${words}`);
}

/** In the thread of a page, which may not wait. */
async function inThePage(t) {
  const frame = document.createElement("iframe");
  document.body.append(frame);
  const page = frame.contentWindow;
  const errors = [];
  const exit = await within(
    new Promise((resolve) => {
      page.Module = {
        printErr: (line) => errors.push(line),
        onExit: resolve,
        locateFile: (name) => `/programs/${name}`,
      };
      const script = page.document.createElement("script");
      script.src = "/programs/small.js";
      page.document.body.append(script);
    }),
    "a program in the page",
  );
  frame.remove();
  t.equal(exit, 1, "the exit status of a program in the page");
  t.check(errors.some((each) => /run the program in a Worker/.test(each)), `it says ${errors.join(" / ")}`);
}
