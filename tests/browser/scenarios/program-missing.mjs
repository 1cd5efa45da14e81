import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "a program without its network, its C part, its library, shared memory or a Worker says what to do";
export const programs = true;

export const host = {
  /** What emcc says to a link without the library: only the objects of the C part. */
  async linkWithoutLibrary() {
    const { execFileSync } = await import("node:child_process");
    const path = await import("node:path");
    const { linkFlags, PROGRAMS } = await import("../harness/programs.mjs");
    const source = path.resolve(import.meta.dirname, "../../emscripten/programs/small.c");
    const objects = (await linkFlags()).filter((flag) => flag.endsWith(".o"));
    try {
      execFileSync("emcc", [source, ...objects, "-o", path.join(PROGRAMS, "never.js")], { stdio: "pipe" });
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
  const link = await t.host("linkWithoutLibrary");
  t.check(/undefined symbol: webtun_\w+/.test(link), `a link without the library says ${link}`);

  if (t.where === "chromium") {
    await withoutSharedMemory(t, net);
    await inThePage(t);
  }
  await net.close();
  const after = await within(Program.run(t, net, "echo", "192.0.2.1", "7", "sequential", "1"), "a program without a stack");
  t.equal(`${after.exit} ${after.lines.join()}`, "1 connect: Network is down", "a program whose tunnel is closed says");
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
