// Runs an emcc program in a Worker of its own, in a page and in Node.

/** A running program: its lines as they come, and its end. */
export class Program {
  lines = [];
  errors = [];
  #watchers = new Set();
  /** Resolves with the exit status and how many shared buffers the program has made. */
  ended;
  worker;

  /**
   * @param net - what it is given; without it the program is left alone
   * @param program - its name, or in a page `{ program, files, keep, without }`: files that it finds, each with its text
   * or its size, a folder whose files are kept when it ends, and a global that its Worker shall lack; for a program of
   * WASI `{ wasi }`, which is what `tests/wasi/worker` takes
   */
  static async start(t, net, program, ...args) {
    const self = new Program();
    const start = program.wasi === undefined ? { node: nodeWorker, chromium: pageWorker } : WASI;
    self.worker = await start[t.where](program.wasi ?? program, args);
    self.ended = new Promise((resolve, reject) => self.#listen(resolve, reject));
    self.ended.catch(() => {});
    net?.attach(self.worker);
    return self;
  }

  /** Runs to the end; gives the lines. */
  static async run(t, net, program, ...args) {
    const running = await Program.start(t, net, program, ...args);
    const { exit, buffers, files } = await running.ended;
    running.worker.terminate();
    return { lines: running.lines, errors: running.errors, exit, buffers, files };
  }

  /** Runs to the end in this page, whose thread may not wait: by a frame of its own; gives the lines. */
  static runHere(net, program, ...args) {
    return Program.runInFrame({ ...net?.attachment() }, program, ...args);
  }

  /** The same, with `settings` for emcc's output; `preRun` is called with its global object, and `onEnd`, whose result is `kept`. */
  static async runInFrame({ preRun, onEnd, ...settings }, program, ...args) {
    const frame = document.createElement("iframe");
    document.body.append(frame);
    const { contentWindow: page, contentDocument } = frame;
    const result = { lines: [], errors: [] };
    result.exit = await new Promise((resolve, reject) => {
      page.Module = {
        ...settings,
        arguments: args.map(String),
        print: (line) => result.lines.push(line),
        printErr: (line) => result.errors.push(line),
        preRun: () => preRun?.(page),
        onExit: (status) => {
          result.kept = onEnd?.(page);
          resolve(status);
        },
        onAbort: (what) => reject(new Error(String(what))),
        locateFile: (name) => `/programs/${name}`,
        mainScriptUrlOrBlob: `/programs/${program}.js`,
      };
      const script = contentDocument.createElement("script");
      script.src = `/programs/${program}.js`;
      script.onerror = () => reject(new Error(`${program} cannot be loaded`));
      contentDocument.body.append(script);
    });
    frame.remove();
    return result;
  }

  /** Resolves with the first line, of either kind, that matches. */
  line(pattern) {
    return new Promise((resolve) => {
      const look = () => {
        const found = [...this.lines, ...this.errors].find((line) => pattern.test(line));
        if (found === undefined) return;
        this.#watchers.delete(look);
        resolve(found);
      };
      this.#watchers.add(look);
      look();
    });
  }

  #listen(resolve, reject) {
    const take = (data) => {
      if (data.line !== undefined) (data.error ? this.errors : this.lines).push(data.line);
      if (data.failure !== undefined) reject(new Error(data.failure));
      for (const look of [...this.#watchers]) look();
      if (data.exit !== undefined) resolve(data);
    };
    const { worker } = this;
    if (worker.on === undefined) {
      worker.onmessage = ({ data }) => take(data);
      worker.onerror = ({ message }) => reject(new Error(`the program failed: ${message}`));
      return;
    }
    worker.on("error", reject);
    worker.on("message", (data) => setImmediate(take, data));
    for (const [stream, error] of [[worker.stdout, false], [worker.stderr, true]]) {
      let rest = "";
      stream.on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        for (const line of lines) take({ line, error });
      });
    }
  }
}

function pageWorker(program, args) {
  const setting = typeof program === "string" ? { program } : program;
  const given = encodeURIComponent(JSON.stringify({ ...setting, args: args.map(String) }));
  return new Worker(`/client/program-worker.js#${given}`);
}

/** Workers for programs of WASI. */
const WASI = {
  chromium: (setting) =>
    new Worker(`/programs/wasi-worker.js#${encodeURIComponent(JSON.stringify(setting))}`, { type: "module" }),
  async node(setting) {
    const { Worker } = await import("node:worker_threads");
    const script = new URL("../../wasi/worker/node.mjs", import.meta.url);
    return new Worker(script, { workerData: setting, stdout: true, stderr: true });
  },
};

async function nodeWorker(program, args) {
  const { Worker } = await import("node:worker_threads");
  const file = new URL(`../../../target/emscripten/${program}.js`, import.meta.url).pathname;
  const wrapper = new URL("./program-node.cjs", import.meta.url);
  return new Worker(wrapper, { workerData: { file, args: args.map(String) }, stdout: true, stderr: true });
}
