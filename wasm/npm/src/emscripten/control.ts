/** The program's end of the conversation with the stack: waits, kicks and calls. */
import { Errno } from "../posix/errno.js";
import { takeEndpoint } from "../posix/endpoints.js";
import {
  Control, ENDPOINT_WORDS, LARGE_SOCKET_SIZE, MAX_READY, REPLY_OK, SOCKET_SIZE, Word, type Attachment, type ProgramPort,
  type Request,
} from "../posix/layout.js";
import { Shared } from "../posix/ring.js";

/** Buffers that are kept for later sockets; what is beyond is left to the garbage collector. */
const MAX_SPARE = 64;

/** Connections that have large memory at one time. */
const MAX_LARGE = 16;

/**
 * A call that may have to wait: gives the milliseconds for which it has to be asked again, and at last its result. Who
 * runs it decides how the thread waits in between, if at all.
 */
export type Task<T> = Generator<number, T, void>;

/** Milliseconds between two looks where nothing tells of a change. */
const LOOK_INTERVAL = 4;

interface WaitAsync {
  (words: Int32Array, index: number, value: number, timeout: number): { async: boolean; value: Promise<unknown> | string };
}

/** Not in the type library of ES2023. */
const waitAsync = (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync;

/** A socket whose rings the program has read from or written to. */
export interface Touched {
  readonly id: number | undefined;
  readonly shared: Shared | undefined;
}

export class Channel {
  readonly #port: ProgramPort;
  readonly #control: Int32Array;
  readonly #warn: (text: string) => void;
  /** The stack is in this thread, so that nothing has to be shared. */
  readonly #local: boolean;
  #spare: Shared[] = [];
  /** Connections with large memory. */
  #large = 0;
  #nextId = 1;
  #asking = false;
  /** Those who wait in this thread for the next change. */
  #waiters: (() => void)[] = [];
  #nudge: () => void = () => {};

  constructor(attachment: Attachment, warn: (text: string) => void) {
    this.#control = new Int32Array(attachment.control);
    this.#port = attachment.port;
    this.#local = attachment.local === true;
    this.#warn = warn;
    if (this.#local) this.#port.onmessage = () => this.#wake();
  }

  /** The errno with which everything fails, or 0 while the tunnel works. */
  get down(): number {
    return Atomics.load(this.#control, Control.Down);
  }

  newId(): number {
    return this.#nextId++;
  }

  /** Memory for a socket: one that the engine has let go of, or a new one; a large one for the first few connections. */
  allocate(connection = false): Shared {
    const size = connection && this.#large < MAX_LARGE ? LARGE_SOCKET_SIZE : SOCKET_SIZE;
    if (size === LARGE_SOCKET_SIZE) this.#large += 1;
    const at = this.#spare.findIndex((spare) => spare.memory.byteLength === size && spare.get(Word.Released) === 1);
    const [shared] = at < 0 ? [] : this.#spare.splice(at, 1);
    if (shared === undefined) return new Shared(this.#local ? new ArrayBuffer(size) : new SharedArrayBuffer(size));
    shared.words.fill(0);
    return shared;
  }

  /** The socket of this memory is closed as far as the program is concerned. */
  recycle(shared: Shared): void {
    if (shared.memory.byteLength === LARGE_SOCKET_SIZE) this.#large -= 1;
    if (this.#spare.length < MAX_SPARE) this.#spare.push(shared);
  }

  post(request: Request): void {
    this.#port.postMessage(request);
  }

  /** Tells the engine to look at the rings of a socket. */
  kick({ id, shared }: Touched): void {
    if (id === undefined || shared === undefined) return;
    if (Atomics.exchange(shared.words, Word.Ready, 1) === 0) this.#list(id);
    if (Atomics.exchange(this.#control, Control.Kick, 1) !== 0) return;
    if (Atomics.load(this.#control, Control.KickByMessage) === 1) this.post({ op: "kick" });
    else Atomics.notify(this.#control, Control.Kick);
  }

  /**
   * Waits until `done` gives something, for at most `timeout` milliseconds.
   *
   * @returns what `done` gave, or `undefined` when the time is over
   */
  wait<T>(timeout: number, done: () => T | undefined): T | undefined {
    return this.run(this.waiting(timeout, done));
  }

  /** As {@link wait}, for whoever runs it. */
  *waiting<T>(timeout: number, done: () => T | undefined): Task<T | undefined> {
    const end = performance.now() + timeout;
    for (;;) {
      const result = done();
      if (result !== undefined) return result;
      const left = end - performance.now();
      if (left <= 0) return undefined;
      yield left;
    }
  }

  /** Asks and waits for the answer: 0, or an errno. */
  call(request: Request): number {
    return this.run(this.calling(request));
  }

  /** As {@link call}, for whoever runs it. There is room for one answer, so that a second task waits for its turn. */
  *calling(request: Request): Task<number> {
    yield* this.waiting(Infinity, () => (this.#asking && this.down === 0 ? undefined : true));
    if (this.down !== 0) return this.down;
    this.#asking = true;
    Atomics.store(this.#control, Control.Reply, 0);
    this.post(request);
    const look = (): number | undefined => Atomics.load(this.#control, Control.Reply) || this.down || undefined;
    const reply = yield* this.waiting(Infinity, look);
    this.#asking = false;
    this.nudge();
    return reply === REPLY_OK ? 0 : (reply ?? Errno.EIO);
  }

  /** Runs a task to its end in this thread, which sleeps between two looks. */
  run<T>(task: Task<T>): T {
    for (;;) {
      const seen = Atomics.load(this.#control, Control.Event);
      const { done, value } = task.next();
      if (done) return value;
      this.#sleep(seen, value);
    }
  }

  /** Runs a task to its end while the thread does other things; what can be done at once is done at once. */
  settle<T>(task: Task<T>, done: (result: T) => void): void {
    const seen = Atomics.load(this.#control, Control.Event);
    const step = task.next();
    if (step.done) return done(step.value);
    void this.#change(seen, step.value).then(() => this.settle(task, done));
  }

  /** Tells all who wait in this program to look again: something has changed that the engine does not know of. */
  nudge(): void {
    Atomics.add(this.#control, Control.Event, 1);
    Atomics.notify(this.#control, Control.Event);
    this.#wake();
    this.#nudge();
  }

  /** Threads of the program wait for the word at `at` in the program's memory, which has to be changed with ours. */
  useWord(memory: SharedArrayBuffer, at: number): void {
    const words = new Int32Array(memory);
    this.#nudge = () => {
      Atomics.add(words, at >> 2, 1);
      Atomics.notify(words, at >> 2);
    };
    this.post({ op: "word", memory, at });
  }

  /** The port of the last answer. */
  get port(): number {
    return Atomics.load(this.#control, Control.Port);
  }

  /** The addresses of the last answer. */
  get addresses(): string[] {
    const count = Atomics.load(this.#control, Control.Count);
    return Array.from({ length: count }, (_, i) => {
      return takeEndpoint(this.#control, Control.Addresses + ENDPOINT_WORDS * i)?.address ?? "";
    }).filter((address) => address !== "");
  }

  /** Resolves when the engine has changed something since `seen`, and after `milliseconds` at the latest. */
  async #change(seen: number, milliseconds: number): Promise<void> {
    if (this.#local) return this.#message(milliseconds);
    if (waitAsync === undefined) return new Promise((resolve) => setTimeout(resolve, Math.min(milliseconds, LOOK_INTERVAL)));
    const { async, value } = waitAsync(this.#control, Control.Event, seen, milliseconds);
    if (async) await value;
  }

  #message(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(milliseconds) ? setTimeout(resolve, milliseconds) : undefined;
      this.#waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #list(id: number): void {
    const head = Atomics.load(this.#control, Control.ReadyHead);
    const listed = (head - Atomics.load(this.#control, Control.ReadyTail)) >>> 0;
    if (listed >= MAX_READY) return void Atomics.store(this.#control, Control.ReadyOverflow, 1);
    Atomics.store(this.#control, Control.Ready + (head & (MAX_READY - 1)), id);
    Atomics.add(this.#control, Control.ReadyHead, 1);
  }

  #sleep(seen: number, milliseconds: number): void {
    try {
      Atomics.wait(this.#control, Control.Event, seen, milliseconds);
    } catch (error) {
      this.#warn("a call would block, and the main thread of a page may not: run the program in a Worker");
      throw error;
    }
  }
}
