/**
 * The engine's side of a program with POSIX sockets: takes its requests and its kicks, and keeps its sockets.
 *
 * Nothing here trusts the program beyond its own sockets: identifiers are looked up, counters are held to their rings.
 */
import type { Endpoint } from "../address.js";
import { asFailure } from "../errors.js";
import type { Context } from "../engine/context.js";
import { failureOf } from "../engine/codes.js";
import { putEndpoint } from "./endpoints.js";
import { Errno, errnoOf } from "./errno.js";
import {
  Control, ENDPOINT_WORDS, LARGE_SOCKET_SIZE, MAX_ADDRESSES, MAX_READY, MAX_SOCKETS, REPLY_OK, SOCKET_SIZE, Word, type Attachment,
  type ProgramPort, type Request, type SharedMemory,
} from "./layout.js";
import { ProgramListener } from "./listener.js";
import { Shared } from "./ring.js";
import type { Owner, ProgramSocket } from "./socket.js";
import { ProgramTcp } from "./tcp.js";
import { ProgramUdp } from "./udp.js";

interface WaitAsync {
  (words: Int32Array, index: number, value: number): { async: boolean; value: Promise<unknown> | string };
}

/** Present in Chromium, Safari and Node; not in the type library of ES2023. */
const waitAsync = (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync;

export class ProgramHost implements Owner {
  readonly context: Context;
  readonly #port: ProgramPort;
  readonly #control: Int32Array;
  readonly #local: boolean;
  readonly #external: boolean;
  readonly split: boolean;
  /** Where the program's threads wait, if it has any. */
  #word: { words: Int32Array; index: number } | undefined;
  readonly #sockets = new Map<number, ProgramSocket>();
  #ended = false;

  constructor(context: Context, { control, port, local = false, external = false, split = false }: Attachment) {
    this.context = context;
    this.#port = port;
    this.#control = new Int32Array(control);
    this.#local = local;
    this.#external = external;
    this.split = split;
    port.onmessage = ({ data }: MessageEvent<Request>) => this.#enter(() => this.#request(data));
    port.addEventListener("close", () => this.#end());
    port.start();
    if (local || waitAsync === undefined) Atomics.store(this.#control, Control.KickByMessage, 1);
    else void this.#listen(waitAsync);
    this.changed();
  }

  changed(): void {
    Atomics.add(this.#control, Control.Event, 1);
    Atomics.notify(this.#control, Control.Event);
    if (this.#local) this.#port.postMessage(undefined);
    if (this.#word === undefined) return;
    Atomics.add(this.#word.words, this.#word.index, 1);
    Atomics.notify(this.#word.words, this.#word.index);
  }

  forget(id: number): void {
    this.#sockets.delete(id);
  }

  /** A program that sends nonsense gets an answer, and no more. */
  #enter(action: () => void): void {
    if (this.#ended) return;
    this.context.enter(() => {
      try {
        action();
      } catch (error) {
        this.#reply(errnoOf(asFailure(error).code));
      }
    });
  }

  async #listen(wait: WaitAsync): Promise<void> {
    while (!this.#ended) {
      const { async, value } = wait(this.#control, Control.Kick, 0);
      if (async) await value;
      if (Atomics.exchange(this.#control, Control.Kick, 0) !== 0) this.#enter(() => this.#pump());
    }
  }

  /** Looks at the sockets that the program has touched since the last time, and only at them. */
  #pump(): void {
    const control = this.#control;
    if (Atomics.exchange(control, Control.ReadyOverflow, 0) !== 0) return this.#pumpAll();
    const tail = Atomics.load(control, Control.ReadyTail);
    const count = Math.min((Atomics.load(control, Control.ReadyHead) - tail) >>> 0, MAX_READY);
    for (let taken = 0; taken < count; taken++) {
      const id = Atomics.load(control, Control.Ready + ((tail + taken) & (MAX_READY - 1)));
      Atomics.add(control, Control.ReadyTail, 1);
      const socket = this.#sockets.get(id);
      if (socket !== undefined) look(socket);
    }
  }

  #pumpAll(): void {
    Atomics.store(this.#control, Control.ReadyTail, Atomics.load(this.#control, Control.ReadyHead));
    for (const socket of this.#sockets.values()) look(socket);
  }

  #request(request: Request): void {
    switch (request.op) {
      case "kick":
        Atomics.store(this.#control, Control.Kick, 0);
        return this.#pump();
      case "connect":
        return this.#connect(request);
      case "probe":
        return this.#probe(request, request.ipv6Only);
      case "listen": {
        const listener = new ProgramListener(this, request.id, this.#shared(request.memory));
        const result = listener.listen(endpoint(request), request.backlog, request.ipv6Only);
        if (result === REPLY_OK && this.#external) listener.mapOut(request.ipv6Only);
        return this.#open(request.id, listener, result);
      }
      case "accept":
        return this.#accept(request);
      case "udp": {
        const socket = new ProgramUdp(this, request.id, this.#shared(request.memory));
        return this.#open(request.id, socket, socket.bind(endpoint(request), request));
      }
      case "udp-connect": {
        const socket = this.#sockets.get(request.id);
        return this.#reply(socket instanceof ProgramUdp ? socket.connect(endpoint(request)) : Errno.EBADF);
      }
      case "close":
        return this.#sockets.get(request.id)?.close(request.abort);
      case "resolve":
        return this.#resolve(request.name, request.family);
      case "word":
        return this.#waitWord(request.memory, request.at);
    }
  }

  #shared(memory: SharedMemory): Shared {
    if (![SOCKET_SIZE, LARGE_SOCKET_SIZE].includes(memory?.byteLength)) throw new Error("the memory has a wrong size");
    return new Shared(memory);
  }

  #waitWord(memory: SharedArrayBuffer, at: number): void {
    const words = new Int32Array(memory);
    const index = at >>> 2;
    if (index < words.length) this.#word = { words, index };
  }

  #open(id: number, socket: ProgramSocket, result: number): void {
    if (result === REPLY_OK) this.#keep(id, socket);
    this.#reply(result);
  }

  #keep(id: number, socket: ProgramSocket): void {
    if (this.#sockets.size >= 2 * MAX_SOCKETS || this.#sockets.has(id)) throw new Error("too many sockets");
    this.#sockets.set(id, socket);
  }

  #connect(request: Extract<Request, { op: "connect" }>): void {
    const socket = new ProgramTcp(this, request.id, this.#shared(request.memory));
    this.#keep(request.id, socket);
    socket.connect(endpoint(request), request.tuning);
  }

  /** Whether a port could be listened at, and which one that is: what bind() has to tell before listen() is called. */
  #probe(wanted: Endpoint, ipv6Only: boolean): void {
    const { stack } = this.context;
    const id = stack.listen(endpoint(wanted), 1, ipv6Only);
    if (id < 0) return this.#reply(errnoOf(failureOf(id).code));
    Atomics.store(this.#control, Control.Port, stack.localAddress(id)?.port ?? wanted.port);
    this.context.forget(id);
    this.#reply(REPLY_OK);
  }

  #accept({ listener, id, memory }: Extract<Request, { op: "accept" }>): void {
    const from = this.#sockets.get(listener);
    if (!(from instanceof ProgramListener)) return this.#reply(Errno.EINVAL);
    const shared = this.#shared(memory);
    const accepted = from.take();
    if (accepted === undefined) return this.#reply(Errno.EAGAIN);
    const socket = new ProgramTcp(this, id, shared);
    this.#keep(id, socket);
    socket.adopt(accepted.id, accepted.local, accepted.remote);
    this.#reply(REPLY_OK);
  }

  #resolve(name: string, family: 0 | 4 | 6): void {
    const wanted = family === 0 ? undefined : family === 4 ? "ipv4" : "ipv6";
    this.context.names.resolve(name, wanted, (outcome) => {
      if ("failure" in outcome) return this.#reply(errnoOf(outcome.failure.code));
      const addresses = outcome.value.slice(0, MAX_ADDRESSES);
      for (const [index, address] of addresses.entries()) {
        putEndpoint(this.#control, Control.Addresses + index * ENDPOINT_WORDS, { address, port: 0 });
      }
      Atomics.store(this.#control, Control.Count, addresses.length);
      this.#reply(REPLY_OK);
    });
  }

  #reply(result: number): void {
    Atomics.store(this.#control, Control.Reply, result);
    this.changed();
  }

  /** The program is gone. */
  #end(): void {
    if (this.#ended) return;
    this.context.enter(() => {
      for (const socket of [...this.#sockets.values()]) socket.close(false);
    });
    this.#ended = true;
    Atomics.store(this.#control, Control.Kick, 1);
    Atomics.notify(this.#control, Control.Kick);
    this.#port.close();
  }
}

/** What the program does to the rings from here on puts the socket into the list once more. */
function look(socket: ProgramSocket): void {
  socket.shared.set(Word.Ready, 0);
  socket.pump();
}

function endpoint({ address, port }: Endpoint): Endpoint {
  return { address: String(address), port: Number(port) & 0xffff };
}
