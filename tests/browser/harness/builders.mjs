// Builds a program by make and by CMake, with the lines that the package's README has for them.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "../../..");
const npm = path.join(root, "wasm/npm");

/** What the README has between these. */
function lines(pattern) {
  const [, text] = pattern.exec(fs.readFileSync(path.join(npm, "emscripten/README.md"), "utf8")) ?? [];
  if (text === undefined) throw new Error(`the README of emscripten has nothing like ${pattern}`);
  return text;
}

const MAKEFILE = () => `${lines(/^ {4}(LDFLAGS .*)$/m)}
small-make.js: small.c
\temcc small.c $(LDFLAGS) -o $@
`;

const CMAKE = (output) => `cmake_minimum_required(VERSION 3.19)
project(small C)
add_executable(app small.c)
set_target_properties(app PROPERTIES OUTPUT_NAME small-cmake RUNTIME_OUTPUT_DIRECTORY "${output}")
${lines(/^```cmake\n([^]*?)^```/m)}`;

/** Into `output`, as `small-make` and `small-cmake`, from a folder as `npm install webtun` leaves it. */
export async function buildByReadme(source, output) {
  const folder = path.join(output, "builders");
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, "app/node_modules/.bin"), { recursive: true });
  fs.symlinkSync(path.join(npm, "bin/webtun.mjs"), path.join(folder, "app/node_modules/.bin/webtun"));
  const app = path.join(folder, "app");
  fs.copyFileSync(source, path.join(app, "small.c"));
  fs.writeFileSync(path.join(app, "Makefile"), MAKEFILE());
  fs.writeFileSync(path.join(app, "CMakeLists.txt"), CMAKE(output));
  await run("make", ["small-make.js"], { cwd: app });
  for (const ending of ["js", "wasm"]) {
    fs.copyFileSync(path.join(app, `small-make.${ending}`), path.join(output, `small-make.${ending}`));
  }
  // Not in the folder of the sources, as is usual.
  const build = path.join(folder, "build");
  await run("emcmake", ["cmake", "-S", app, "-B", build], { cwd: folder });
  await run("cmake", ["--build", build], { cwd: folder });
}
