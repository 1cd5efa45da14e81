#!/usr/bin/env node
// `npx webtun emcc-flags [-pthread ...]`: what emcc needs to give a program POSIX sockets over the tunnel. The C part is
// compiled here, once for each emcc and each list of options: em++ would take the sources for C++.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../dist/emscripten/", import.meta.url));
const SOURCES = ["sockets", "files", "names"];
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

function flags(options) {
  if (!existsSync(`${FOLDER}webtun-library.js`)) fail(`${FOLDER} is not built: run cargo xtask npm`);
  if (/\s/.test(FOLDER + cache)) fail(`a shell would split the path ${FOLDER}: install where no path has a space`);
  return [...objects(options), "--js-library", `${FOLDER}webtun-library.js`, "-sEXIT_RUNTIME=1"];
}

const [command, ...options] = process.argv.slice(2);
if (command !== "emcc-flags") fail("usage: webtun emcc-flags [OPTION OF emcc ...] (prints arguments for the link)");
console.log(flags(options).join(" "));
