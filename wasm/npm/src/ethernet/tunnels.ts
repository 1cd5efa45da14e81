/** The WebSockets of a segment's guests, one each. */
import { SUBPROTOCOL, Transport, type WebSocketFactory } from "../engine/transport.js";
import type { Bindings } from "./bindings.js";

/**
 * Octets that may wait for a guest's network card before its tunnel's messages wait in their turn. What is not taken is not
 * acknowledged, so that the gateway holds back more than a megabyte or two.
 */
const ENOUGH = 64 * 1024;

/** Where the tunnels lead to. */
export interface Gateway {
  readonly url: string;
  readonly token: string | undefined;
}

interface Tunnel {
  readonly transport: Transport;
  /** Messages that wait until their guest has taken what came before. */
  readonly held: ArrayBuffer[];
}

export class Tunnels {
  readonly #bindings: Bindings;
  readonly #open: (handlers: ConstructorParameters<typeof Transport>[3]) => Transport;
  readonly #run: (input: () => void) => void;
  readonly #tunnels = new Map<number, Tunnel>();
  /** Links that may have something to send. */
  readonly #ready = new Set<number>();

  /** `run` is to be called with each input. */
  constructor(
    bindings: Bindings,
    { url, token }: Gateway,
    openWebSocket: WebSocketFactory,
    run: (input: () => void) => void,
  ) {
    const protocols = token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${token}`];
    this.#bindings = bindings;
    this.#open = (handlers) => new Transport(openWebSocket, url, protocols, handlers);
    this.#run = run;
  }

  /** A tunnel wants a WebSocket. */
  open(link: number): void {
    this.close(link);
    const held: ArrayBuffer[] = [];
    const transport = this.#open({
      onopen: () => this.#run(() => this.#bindings.connected(link)),
      onmessage: (data) => this.#run(() => void held.push(data)),
      onclose: () =>
        this.#run(() => {
          for (const data of held.splice(0)) this.#bindings.message(link, data);
          if (this.#tunnels.get(link)?.transport === transport) this.#tunnels.delete(link);
          this.#bindings.disconnected(link);
        }),
    });
    this.#tunnels.set(link, { transport, held });
  }

  /** A tunnel needs its WebSocket no more, once what it still says is sent. */
  close(link: number): void {
    this.#transmit(link);
    this.#tunnels.get(link)?.transport.close();
    this.#tunnels.delete(link);
    this.#ready.delete(link);
  }

  closeAll(): void {
    for (const link of [...this.#tunnels.keys()]) this.close(link);
  }

  /** Hands on what can be, both ways. True where that was anything. */
  turn(): boolean {
    const bindings = this.#bindings;
    for (let link = bindings.pollLink(); link !== undefined; link = bindings.pollLink()) this.#ready.add(link);
    let busy = false;
    for (const [link, { held }] of this.#tunnels) {
      while (held.length > 0 && this.#bindings.waitingFrames(link) < ENOUGH) {
        this.#bindings.message(link, held.shift() as ArrayBuffer);
        busy = true;
      }
    }
    for (const link of [...this.#ready]) busy = this.#transmit(link) || busy;
    return busy;
  }

  /** True while a WebSocket or a guest takes no more, of which nobody tells when it does again. */
  get blocked(): boolean {
    for (const [link, { transport, held }] of this.#tunnels) {
      if (held.length > 0 || (this.#ready.has(link) && transport.open)) return true;
    }
    return false;
  }

  #transmit(link: number): boolean {
    const transport = this.#tunnels.get(link)?.transport;
    let sent = false;
    while (transport?.writable) {
      const message = this.#bindings.pollTransmit(link);
      if (message === undefined) {
        this.#ready.delete(link);
        break;
      }
      transport.send(message);
      sent = true;
    }
    return sent;
  }
}
