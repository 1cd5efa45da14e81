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
  epollCreate: 0,
  epollControl: 4,
  epollWait: 4,
  resolve: 5,
};

/** Those of them that may wait. */
const WAITING = new Set(["bind", "connect", "listen", "accept", "send", "receive", "poll", "epollWait", "resolve"]);

/** The functions by which a thread of the program waits by itself, each of one number. */
const THREADED = ["resume", "limit", "useWord"];

// Settings of this link; versions of emcc differ in which they have.
const threads = (typeof PTHREADS !== "undefined" && PTHREADS) || (typeof USE_PTHREADS !== "undefined" && USE_PTHREADS);
const promises = (typeof JSPI !== "undefined" && JSPI) || (typeof ASYNCIFY !== "undefined" && ASYNCIFY === 2);
const unwinds = !promises && typeof ASYNCIFY !== "undefined" && Boolean(ASYNCIFY);
if (threads && (promises || unwinds)) throw new Error("webtun: of -pthread, -sJSPI and -sASYNCIFY a program has one");
if (unwinds && typeof ASYNCIFY_IMPORTS !== "undefined" && !ASYNCIFY_IMPORTS.some((name) => name.endsWith("webtun_connect"))) {
  throw new Error("webtun: -sASYNCIFY needs more flags: use what `npx webtun emcc-flags -sASYNCIFY` prints");
}

/** What the runtime is given of the program around it. */
const ENVIRONMENT = `{
  FS: FS,
  module: Module,
  suspends: ${Boolean(threads || promises || unwinds)},
  heap: function() { return HEAPU8; },
  warn: function(text) { err('webtun: ' + text); },
  addRunDependency: function(id) { addRunDependency(id); },
  removeRunDependency: function(id) { removeRunDependency(id); },
}`;

const webtunLibrary = {
  $WEBTUN: `=(function() { ${RUNTIME} return webtunRuntime.create(${ENVIRONMENT}); })()`,
  // Later versions of emcc leave out what nothing depends on.
  $WEBTUN__deps: ["$FS", "$addRunDependency", "$removeRunDependency"].filter((name) => name in LibraryManager.library),
  // The threads of a program have this file, too; its sockets are those of the first.
  $WEBTUN__postset: threads ? "if (!ENVIRONMENT_IS_PTHREAD) WEBTUN.start()" : "WEBTUN.start()",
};

/** Later versions of emcc have the function that ends a program under another name, and leave out what is not named. */
const END = "$exitJS" in LibraryManager.library ? "exitJS" : "exit";

/**
 * What a program's stack is unwound around. Nothing of emcc's ends a program whose main() comes to its end only after it was
 * unwound: so that is done here.
 */
const UNWIND = `
  var now = false;
  WEBTUN.settle(@CALL@, function(result) { now = true; wakeUp(result); });
  if (now || WEBTUN.begun) return;
  WEBTUN.begun = true;
  var end = function(failed) {
    if (!failed || failed === 'unwind' || failed.name === 'ExitStatus') return;
    throw failed;
  };
  Asyncify.asyncPromiseHandlers = Asyncify.asyncPromiseHandlers || {
    resolve: function(status) { try { ${END}(status, true); } catch (error) { end(error); } },
    reject: end,
  };`;

/** How a function that may wait gives its result. */
function waiting(call) {
  if (threads) return `return WEBTUN.begin(${call});`;
  if (promises) return `return WEBTUN.promise(${call});`;
  if (unwinds) return `return Asyncify.handleSleep(function(wakeUp) { ${UNWIND.replace("@CALL@", () => call)} });`;
  return `return WEBTUN.block(${call});`;
}

function define(name, count) {
  const parameters = Array.from({ length: count }, (_, index) => `a${index}`).join(", ");
  const call = `WEBTUN.${name}(${parameters})`;
  const waits = WAITING.has(name);
  const symbol = `webtun_${name}`;
  webtunLibrary[symbol] = new Function(parameters, waits ? waiting(call) : `return ${call};`);
  webtunLibrary[`${symbol}__deps`] = waits && unwinds ? ["$WEBTUN", "$Asyncify", ...(END === "exit" ? [] : ["$exitJS"])] : ["$WEBTUN"];
  webtunLibrary[`${symbol}__sig`] = "i".repeat(count + 1);
  if (threads) webtunLibrary[`${symbol}__proxy`] = "sync";
  if (waits && (promises || unwinds)) webtunLibrary[`${symbol}__async`] = true;
}

for (const [name, count] of Object.entries(FUNCTIONS)) define(name, count);
if (threads) for (const name of THREADED) define(name, 1);

// Emscripten's own sockets are linked only where the C part is missing, which defines the functions of libc.
if ("$SOCKFS" in LibraryManager.library) {
  const explanation = "webtun: the C part is not linked: use all that is printed by `npx webtun emcc-flags`";
  webtunLibrary.$SOCKFS__postset = `err(${JSON.stringify(explanation)})`;
}

mergeInto(LibraryManager.library, webtunLibrary);
