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
  Control, ENDPOINT_WORDS, MAX_ADDRESSES, MAX_SOCKETS, REPLY_OK, SOCKET_SIZE, type Attachment, type Request,
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
  readonly #port: MessagePort;
  readonly #control: Int32Array;
  readonly #sockets = new Map<number, ProgramSocket>();
  #ended = false;

  constructor(context: Context, { control, port }: Attachment) {
    this.context = context;
    this.#port = port;
    this.#control = new Int32Array(control);
    port.onmessage = ({ data }: MessageEvent<Request>) => this.#enter(() => this.#request(data));
    port.addEventListener("close", () => this.#end());
    port.start();
    if (waitAsync === undefined) Atomics.store(this.#control, Control.KickByMessage, 1);
    else void this.#listen(waitAsync);
    this.changed();
  }

  changed(): void {
    Atomics.add(this.#control, Control.Event, 1);
    Atomics.notify(this.#control, Control.Event);
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

  #pump(): void {
    for (const socket of this.#sockets.values()) socket.pump();
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
        return this.#open(request.id, listener, listener.listen(endpoint(request), request.backlog, request.ipv6Only));
      }
      case "accept":
        return this.#accept(request);
      case "udp": {
        const socket = new ProgramUdp(this, request.id, this.#shared(request.memory));
        return this.#open(request.id, socket, socket.bind(endpoint(request), request.ipv6Only, request.receiveBuffer));
      }
      case "udp-connect": {
        const socket = this.#sockets.get(request.id);
        return this.#reply(socket instanceof ProgramUdp ? socket.connect(endpoint(request)) : Errno.EBADF);
      }
      case "close":
        return this.#sockets.get(request.id)?.close(request.abort);
      case "resolve":
        return this.#resolve(request.name, request.family);
    }
  }

  #shared(memory: SharedArrayBuffer): Shared {
    const fits = memory instanceof SharedArrayBuffer && memory.byteLength >= SOCKET_SIZE;
    if (!fits) throw new Error("the memory is too small");
    return new Shared(memory);
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

function endpoint({ address, port }: Endpoint): Endpoint {
  return { address: String(address), port: Number(port) & 0xffff };
}
