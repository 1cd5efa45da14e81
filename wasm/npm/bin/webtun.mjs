#!/usr/bin/env node
// `npx webtun emcc-flags [-pthread ...]`: what emcc needs to give a program POSIX sockets over the tunnel; `rustc-flags` says
// the same to rustc, which calls emcc. The C part is compiled here, once for each emcc and each list of options: em++ would take the sources for C++.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../dist/emscripten/", import.meta.url));
const SOURCES = ["sockets", "files", "epoll", "names", "threads"];
/** The functions of the library that may wait. */
const CALLS = ["bind", "connect", "listen", "accept", "send", "receive", "poll", "epollWait", "resolve"];
const WAITING = CALLS.map((name) => `webtun_${name}`);
const { WEBTUN_CACHE: cache = FOLDER, EMCC: emcc = "emcc" } = process.env;

function fail(message) {
  console.error(`webtun: ${message}`);
  process.exit(1);
}

function run(args) {
  try {
    return execFileSync(emcc, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  } catch (error) {
    if (error.code === "ENOENT") fail(`there is no ${emcc}: put it on PATH, or name it by EMCC`);
    return fail(`${emcc} failed`);
  }
}

/** The objects for these options; several builds may make them at the same time. */
function objects(options) {
  const digest = createHash("sha256").update(JSON.stringify([run(["--version"]), options]));
  for (const name of [...SOURCES.map((each) => `${each}.c`), "webtun.h"]) digest.update(readFileSync(FOLDER + name));
  const folder = join(cache, "objects", digest.digest("hex").slice(0, 16));
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    fail(`${folder} cannot be made (${error.code}): name another folder by WEBTUN_CACHE`);
  }
  return SOURCES.map((name) => {
    const file = join(folder, `${name}.o`);
    if (existsSync(file)) return file;
    const unfinished = join(folder, `${name}.${process.pid}.o`);
    run(["-O2", ...options, "-c", `${FOLDER}${name}.c`, "-o", unfinished]);
    renameSync(unfinished, file);
    return file;
  });
}

/** How a program waits is decided by the link alone: these are no options of the compiler. */
const isMode = (option) => /^-s(ASYNCIFY|JSPI)(=|$)/.test(option);

function flags(options) {
  if (!existsSync(`${FOLDER}webtun-library.js`)) fail(`${FOLDER} is not built: run cargo xtask npm`);
  if (/\s/.test(FOLDER + cache)) fail(`a shell would split the path ${FOLDER}: install where no path has a space`);
  // Without its file system, which a program that opens no file is spared, emcc's close() does nothing.
  const settings = ["-sEXIT_RUNTIME=1", "-sFORCE_FILESYSTEM=1"];
  // emcc 3.1.6 has to be told by name what a program is unwound at.
  if (options.some((option) => /^-sASYNCIFY(=1)?$/.test(option))) settings.push(`-sASYNCIFY_IMPORTS=${WAITING.join(",")}`);
  const parts = objects(options.filter((option) => !isMode(option)));
  return [...parts, "--js-library", `${FOLDER}webtun-library.js`, ...settings, ...options.filter(isMode)];
}

const COMMANDS = {
  "emcc-flags": flags,
  "rustc-flags": (options) => flags(options).map((flag) => `-Clink-arg=${flag}`),
};

const [command, ...options] = process.argv.slice(2);
if (!Object.hasOwn(COMMANDS, command ?? "")) {
  fail("usage: webtun emcc-flags|rustc-flags [OPTION OF emcc ...] (prints arguments for the link)");
}
console.log(COMMANDS[command](options).join(" "));
