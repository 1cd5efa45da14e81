// The emcc library (--js-library): gives the C part of webtun its functions. No macros, so that one file serves every
// emcc from 3.1.6 on. In the built file RUNTIME is the bundle of src/emscripten/library.ts.

const RUNTIME = "@RUNTIME@";

/** The functions of webtun.h with their numbers of arguments. */
const FUNCTIONS = {
  socket: 3,
  socketpair: 4,
  bind: 3,
  connect: 3,
  listen: 2,
  accept: 4,
  shutdown: 2,
  name: 4,
  send: 6,
  receive: 7,
  getsockopt: 5,
  setsockopt: 5,
  fcntl: 3,
  ioctl: 3,
  dup: 2,
  poll: 3,
  resolve: 5,
};

/** What the runtime is given of the program around it. */
const ENVIRONMENT = `{
  FS: FS,
  module: Module,
  heap: function() { return HEAPU8; },
  warn: function(text) { err('webtun: ' + text); },
  addRunDependency: function(id) { addRunDependency(id); },
  removeRunDependency: function(id) { removeRunDependency(id); },
}`;

const webtunLibrary = {
  $WEBTUN: `=(function() { ${RUNTIME} return webtunRuntime.create(${ENVIRONMENT}); })()`,
  // Later versions of emcc leave out what nothing depends on.
  $WEBTUN__deps: ["$FS", "$addRunDependency", "$removeRunDependency"].filter((name) => name in LibraryManager.library),
  $WEBTUN__postset: "WEBTUN.start()",
};

for (const [name, count] of Object.entries(FUNCTIONS)) {
  const parameters = Array.from({ length: count }, (_, index) => `a${index}`).join(", ");
  webtunLibrary[`webtun_${name}`] = new Function(parameters, `return WEBTUN.${name}(${parameters});`);
  webtunLibrary[`webtun_${name}__deps`] = ["$WEBTUN"];
  webtunLibrary[`webtun_${name}__sig`] = "i".repeat(count + 1);
}

// Emscripten's own sockets are linked only where the C part is missing, which defines the functions of libc.
if ("$SOCKFS" in LibraryManager.library) {
  const explanation = "webtun: the C part is not linked: use all that is printed by `npx webtun emcc-flags`";
  webtunLibrary.$SOCKFS__postset = `err(${JSON.stringify(explanation)})`;
}

mergeInto(LibraryManager.library, webtunLibrary);
