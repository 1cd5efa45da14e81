/** The program's end of the conversation with the stack: waits, kicks and calls. */
import { Errno } from "../posix/errno.js";
import { takeEndpoint } from "../posix/endpoints.js";
import {
  Control, ENDPOINT_WORDS, REPLY_OK, SOCKET_SIZE, Word, type Attachment, type Request,
} from "../posix/layout.js";
import { Shared } from "../posix/ring.js";

/** Buffers that are kept for later sockets; what is beyond is left to the garbage collector. */
const MAX_SPARE = 64;

export class Channel {
  readonly #port: MessagePort;
  readonly #control: Int32Array;
  readonly #warn: (text: string) => void;
  #spare: Shared[] = [];
  #nextId = 1;

  constructor({ control, port }: Attachment, warn: (text: string) => void) {
    this.#control = new Int32Array(control);
    this.#port = port;
    this.#warn = warn;
  }

  /** The errno with which everything fails, or 0 while the tunnel works. */
  get down(): number {
    return Atomics.load(this.#control, Control.Down);
  }

  newId(): number {
    return this.#nextId++;
  }

  /** Memory for a socket: one that the engine has let go of, or a new one. */
  allocate(): Shared {
    const at = this.#spare.findIndex((shared) => shared.get(Word.Released) === 1);
    const [shared] = at < 0 ? [] : this.#spare.splice(at, 1);
    if (shared === undefined) return new Shared(new SharedArrayBuffer(SOCKET_SIZE));
    shared.words.fill(0);
    return shared;
  }

  /** The socket of this memory is closed as far as the program is concerned. */
  recycle(shared: Shared): void {
    if (this.#spare.length < MAX_SPARE) this.#spare.push(shared);
  }

  post(request: Request): void {
    this.#port.postMessage(request);
  }

  /** Tells the engine to look at the rings. */
  kick(): void {
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
    const end = performance.now() + timeout;
    for (;;) {
      const seen = Atomics.load(this.#control, Control.Event);
      const result = done();
      if (result !== undefined) return result;
      const left = end - performance.now();
      if (left <= 0) return undefined;
      this.#sleep(seen, left);
    }
  }

  /** Asks and waits for the answer: 0, or an errno. */
  call(request: Request): number {
    if (this.down !== 0) return this.down;
    Atomics.store(this.#control, Control.Reply, 0);
    this.post(request);
    const reply = this.wait(Infinity, () => Atomics.load(this.#control, Control.Reply) || this.down || undefined);
    return reply === REPLY_OK ? 0 : (reply ?? Errno.EIO);
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

  #sleep(seen: number, milliseconds: number): void {
    try {
      Atomics.wait(this.#control, Control.Event, seen, milliseconds);
    } catch (error) {
      this.#warn("a call would block, and the main thread of a page may not: run the program in a Worker");
      throw error;
    }
  }
}
