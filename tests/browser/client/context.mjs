// What a scenario gets: a way to open tunnels, its half in the harness's process, and checks with words.

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Milliseconds that a thing which takes no time may take: a busy machine must not make a scenario fail. */
const PATIENCE = 20_000;

/** Rejects with `what` when `promise` is not settled after that. */
export async function within(promise, what, milliseconds = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing for ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export class Context {
  #job;
  #connect;
  #load;
  #nets = new Set();

  constructor(job, connect, load) {
    this.#job = job;
    this.#connect = connect;
    this.#load = load;
  }

  /** True for full sizes and counts. */
  get full() {
    return this.#job.full;
  }

  /** Octets of a large transfer. */
  get size() {
    return this.#job.mib * 1024 * 1024;
  }

  /** What the caller has given the scenario beside. */
  get args() {
    return this.#job.args;
  }

  /** The gateway's token, where it wants one. */
  get token() {
    return this.#job.token;
  }

  /** Where `bench_relay` is, of a measure that compares with it. */
  get relay() {
    return this.#job.relay;
  }

  /** `chromium` or `node`. */
  get where() {
    return this.#job.where;
  }

  /** The gateway's own address, past the harness. */
  get gateway() {
    return this.#job.gateway;
  }

  /** The package's `connect`, bare. */
  get connect() {
    return this.#connect;
  }

  /** Another entry of the package by its name, such as `tls`. */
  load(entry) {
    return this.#load(entry);
  }

  /** The address of a gateway behind the harness: `main`, or `strict` where a scenario asks for that. */
  url(gateway = "main") {
    return `${this.#job.site.replace("http", "ws")}/tunnel/${this.#job.id}/${gateway}`;
  }

  /** Opens a tunnel, which is closed when the scenario ends. */
  async open({ gateway, ...options } = {}) {
    const net = await this.#connect(this.url(gateway), options);
    this.#nets.add(net);
    return net;
  }

  /** Calls a function of the scenario's `host`, or one of those that all have: `cut`, `hold`, `tunnels`, `octets`. */
  async host(name, ...args) {
    const call = crypto.randomUUID();
    const ask = () =>
      fetch(`${this.#job.site}/host/${this.#job.id}/${name}/${call}`, { method: "POST", body: JSON.stringify(args) });
    // Chromium ends requests when an interface of the machine comes or goes, as those of tests do. The number lets the
    // other side give the answer of the same call.
    const response = await ask().catch(ask);
    const { value, error } = await response.json();
    if (error !== undefined) throw new Error(`${name}: ${error}`);
    return value;
  }

  check(condition, words) {
    if (!condition) throw new Error(words);
  }

  equal(actual, expected, what) {
    if (actual !== expected) throw new Error(`${what}: ${show(actual)}, and not ${show(expected)}`);
  }

  /** Waits for `promise` to fail, and checks with which code. Returns the error. */
  async fails(promise, code, what) {
    let value;
    try {
      value = await promise;
    } catch (error) {
      if (error.code !== code) throw new Error(`${what}: ${error.code} (${error.message}), and not ${code}`);
      return error;
    }
    throw new Error(`${what}: no failure, but ${show(value)}`);
  }

  async finish() {
    await Promise.allSettled([...this.#nets].map((net) => net.close()));
  }
}

function show(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
