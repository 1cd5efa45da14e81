// Runs a program of WASI in this Worker, with sockets: what pages and Node have in common.
import { ConsoleStdout, File, OpenFile, WASI } from "@bjorn3/browser_wasi_shim";

/**
 * @param setting - `program`, a module, with `options` of `preview1()` and the name of a `shim`; or `component` with `args`
 * @param platform - `wasiSockets` of the package; `compile` gives a module by its name, `load` what jco has made of a
 * component; `tell` takes lines and the end; `shims` are further ones by their names
 */
export async function run(setting, platform) {
  try {
    const sockets = await platform.wasiSockets();
    const start = setting.component === undefined ? runModule : runComponent;
    platform.tell({ exit: await start(setting, sockets, platform) });
  } catch (error) {
    platform.tell({ failure: String(error?.message ?? error) });
  }
}

async function runModule({ program, options, shim }, sockets, { compile, tell, shims }) {
  const { imports, start } = sockets.preview1((shims?.[shim] ?? browserShim)(program, tell), options);
  return start(await WebAssembly.instantiate(await compile(program), imports));
}

function browserShim(program, tell) {
  const lines = (error) => ConsoleStdout.lineBuffered((line) => tell({ line, error }));
  return new WASI([program], [], [new OpenFile(new File([])), lines(false), lines(true)], { debug: false });
}

async function runComponent({ component, args }, sockets, { compile, load, tell }) {
  // Only where it is wanted: in Node it starts a thread.
  const { WASIShim } = await import("@bytecodealliance/preview2-shim/instantiation");
  const shim = new WASIShim({ sandbox: { args: [component, ...args] } }).getImportObject();
  const output = { stdout: lines(tell, false), stderr: lines(tell, true) };
  const { instantiate } = await load(component);
  const core = (name) => compile(`${component}/${name.replace(/\.wasm$/, "")}`);
  const { run } = await instantiate(core, sockets.preview2(shim, output));
  try {
    run.run();
  } catch (error) {
    // The error of `run` has no words: those are on the standard error.
    if (error instanceof Error && !("payload" in error)) throw error;
    return 1;
  }
  return 0;
}

/** Lines of what is written. */
function lines(tell, error) {
  const decoder = new TextDecoder();
  let rest = "";
  return (octets) => {
    const all = (rest + decoder.decode(octets, { stream: true })).split("\n");
    rest = all.pop();
    for (const line of all) tell({ line, error });
  };
}
