/** One UDP socket in the engine, bound or connected. */
import { literalFamily, stripBrackets, unmapped, unspecifiedFor, type Endpoint, type IpFamily } from "../address.js";
import { failure, type Failure } from "../errors.js";
import { datagramCost, type ExternalRequest } from "../link/protocol.js";
import { failureOf } from "./codes.js";
import type { Context, EngineSocket, SocketOwner } from "./context.js";
import { Kind, word } from "./events.js";
import { mapExternal } from "./external.js";

export interface UdpRequest {
  /** Where to receive; absent for a connected socket. */
  readonly local: Endpoint | undefined;
  /** The only peer; absent for a bound socket. */
  readonly remote: Endpoint | undefined;
  readonly family: IpFamily | undefined;
  readonly ipv6Only: boolean;
  readonly external: ExternalRequest | undefined;
  /** Octets, 0 for the default. */
  readonly receiveBufferSize: number;
}

interface Outgoing {
  readonly data: ArrayBuffer;
  readonly to: Endpoint | undefined;
  readonly family: IpFamily | undefined;
}

export class UdpFlow implements EngineSocket, SocketOwner {
  readonly #context: Context;
  readonly #handle: number;
  #id: number | undefined;
  #connected = false;
  #credit: number;
  #queue: Outgoing[] = [];
  #resolving: (() => void) | undefined;
  #writable = true;
  #discarding = false;
  #unmap: () => void = () => {};
  #retired = false;

  constructor(context: Context, handle: number, credit: number) {
    this.#context = context;
    this.#handle = handle;
    this.#credit = credit;
    context.register(handle, this);
  }

  open(request: UdpRequest): void {
    const { remote } = request;
    if (remote === undefined) return this.#bind(request);
    this.#resolving = this.#context.names.resolve(remote.address, request.family, (outcome) => {
      this.#resolving = undefined;
      if (this.#retired) return;
      if ("failure" in outcome) return this.#retire(outcome.failure);
      const address = this.#context.names.reachable(outcome.value);
      if (address === undefined) return this.#retire(failure("ENOTFOUND"));
      this.#connect(request, { address: unmapped(address), port: remote.port });
    });
  }

  handleEvent(kind: Kind, words: Uint32Array): void {
    switch (kind) {
      case Kind.UdpReadable:
        return this.#receive();
      case Kind.UdpWritable:
        return this.#send();
      case Kind.UdpError:
        return this.#fault(failureOf(word(words, 1)));
    }
  }

  credit(amount: number): void {
    this.#credit += amount;
    this.#receive();
  }

  send(data: ArrayBuffer, to: Endpoint | undefined, family: IpFamily | undefined): void {
    if (!this.#writable) return;
    this.#queue.push({ data, to, family });
    this.#send();
  }

  shutdown(): void {
    this.#writable = false;
    this.#settle();
  }

  discard(): void {
    this.#discarding = true;
    this.#receive();
    this.#settle();
  }

  close(): void {
    this.#retire(this.#id === undefined ? failure("ECONNABORTED") : undefined);
  }

  #bind({ local, ipv6Only, external, receiveBufferSize }: UdpRequest): void {
    const wanted = local ?? { address: "0.0.0.0", port: 0 };
    const id = this.#context.stack.bind(wanted, ipv6Only, receiveBufferSize);
    if (id < 0) return this.#retire(failureOf(id));
    this.#own(id);
    const bound = this.#context.stack.localAddress(id) ?? wanted;
    this.#unmap = mapExternal(this.#context, 17, bound, external, (outcome) => {
      if (this.#retired) return;
      if ("failure" in outcome) return this.#retire(outcome.failure);
      this.#context.emit({ event: "opened", handle: this.#handle, opened: outcome.value });
    });
  }

  #connect({ receiveBufferSize }: UdpRequest, remote: Endpoint): void {
    const { stack } = this.#context;
    const unbound = unspecifiedFor(remote);
    const id = stack.bind(unbound, true, receiveBufferSize);
    if (id < 0) return this.#retire(failureOf(id));
    this.#own(id);
    this.#connected = true;
    const result = stack.connectUdp(id, remote);
    if (result < 0) return this.#retire(failureOf(result));
    const family = literalFamily(remote.address);
    const own = stack.lease()?.addresses.find((address) => literalFamily(address) === family);
    const local = { address: own ?? unbound.address, port: stack.localAddress(id)?.port ?? 0 };
    this.#context.emit({ event: "opened", handle: this.#handle, opened: { local, remote } });
    this.#send();
  }

  #own(id: number): void {
    this.#id = id;
    this.#context.own(id, this);
  }

  #send(): void {
    let taken = 0;
    while (this.#id !== undefined && this.#resolving === undefined) {
      const head = this.#queue[0];
      if (head === undefined) break;
      const to = head.to;
      if (to !== undefined && literalFamily(to.address) === undefined) {
        this.#resolve(head, to);
        continue;
      }
      const result = this.#context.stack.sendTo(this.#id, head.data, to && { ...to, address: stripBrackets(to.address) });
      if (result === 0) break;
      this.#queue.shift();
      taken += datagramCost(head.data.byteLength);
      if (result < 0) this.#break(failureOf(result));
    }
    if (taken > 0) this.#context.emit({ event: "sent", handle: this.#handle, amount: taken });
    if (this.#queue.length === 0) this.#settle();
  }

  /** Replaces the name in the first datagram of the queue by an address; what follows waits, so that order is kept. */
  #resolve(head: Outgoing, to: Endpoint): void {
    this.#resolving = this.#context.names.resolve(to.address, head.family, (outcome) => {
      this.#resolving = undefined;
      if (this.#retired) return;
      if ("failure" in outcome) {
        this.#queue.shift();
        this.#break(outcome.failure);
      } else {
        const address = this.#context.names.reachable(outcome.value) ?? to.address;
        this.#queue[0] = { ...head, to: { address, port: to.port } };
      }
      this.#send();
    });
  }

  #receive(): void {
    while (this.#id !== undefined && (this.#credit > 0 || this.#discarding)) {
      const datagrams = this.#context.stack.receiveFrom(this.#id, Math.max(this.#credit, 1));
      if (datagrams.length === 0) return;
      if (this.#discarding) continue;
      for (const { data, from } of datagrams) {
        this.#credit -= datagramCost(data.byteLength);
        this.#context.emit({ event: "data", handle: this.#handle, data: new Uint8Array(data), from }, data);
      }
    }
  }

  /** An ICMP error: it ends a connected socket; a bound one has other peers and goes on. */
  #fault(cause: Failure): void {
    if (this.#connected || cause.code === "ENETDOWN") this.#retire(cause);
    else if (cause.code === "EACCES") this.#break(cause);
  }

  #break(cause: Failure): void {
    if (!this.#writable) return;
    this.#writable = false;
    this.#queue = [];
    this.#context.emit({ event: "broken", handle: this.#handle, failure: cause });
  }

  #settle(): void {
    if (this.#discarding && !this.#writable && this.#queue.length === 0) this.#retire();
  }

  #retire(cause?: Failure): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#resolving?.();
    this.#unmap();
    if (this.#id !== undefined) this.#context.forget(this.#id);
    this.#id = undefined;
    this.#queue = [];
    this.#context.retire(this.#handle, cause);
  }
}
