// Runs an emcc program in a Worker of its own, in a page and in Node.

/** A running program: its lines as they come, and its end. */
export class Program {
  lines = [];
  errors = [];
  #watchers = new Set();
  /** Resolves with the exit status and how many shared buffers the program has made. */
  ended;
  worker;

  /** @param net - what it is given; without it the program is left alone */
  static async start(t, net, program, ...args) {
    const self = new Program();
    self.worker = t.where === "node" ? await nodeWorker(program, args) : pageWorker(program, args);
    self.ended = new Promise((resolve, reject) => self.#listen(resolve, reject));
    self.ended.catch(() => {});
    net?.attach(self.worker);
    return self;
  }

  /** Runs to the end; gives the lines. */
  static async run(t, net, program, ...args) {
    const running = await Program.start(t, net, program, ...args);
    const { exit, buffers } = await running.ended;
    running.worker.terminate();
    return { lines: running.lines, errors: running.errors, exit, buffers };
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
  const given = encodeURIComponent(JSON.stringify({ program, args: args.map(String) }));
  return new Worker(`/client/program-worker.js#${given}`);
}

async function nodeWorker(program, args) {
  const { Worker } = await import("node:worker_threads");
  const file = new URL(`../../../target/emscripten/${program}.js`, import.meta.url).pathname;
  const wrapper = new URL("./program-node.cjs", import.meta.url);
  return new Worker(wrapper, { workerData: { file, args: args.map(String) }, stdout: true, stderr: true });
}
