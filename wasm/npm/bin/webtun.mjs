#!/usr/bin/env node
// `npx webtun emcc-flags`: what emcc needs to give a program POSIX sockets over the tunnel.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../dist/emscripten/", import.meta.url));
const SOURCES = ["sockets.c", "files.c", "names.c"];

function fail(message) {
  console.error(`webtun: ${message}`);
  process.exit(1);
}

function flags() {
  if (!existsSync(`${FOLDER}webtun-library.js`)) fail(`${FOLDER} is not built: run cargo xtask npm`);
  if (/\s/.test(FOLDER)) fail(`a shell would split the path ${FOLDER}: install the package where no path has a space`);
  return [...SOURCES.map((name) => FOLDER + name), "--js-library", `${FOLDER}webtun-library.js`, "-sEXIT_RUNTIME=1"];
}

const [command] = process.argv.slice(2);
if (command !== "emcc-flags") fail("usage: webtun emcc-flags (prints the arguments for the emcc that links)");
console.log(flags().join(" "));
