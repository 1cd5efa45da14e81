/** A WebSocket without a server, for emulators that take nothing but the address of a relay. */
import { octetsOf } from "../streams.js";
import { WebSocketShape } from "../websocket-shape.js";
import type { EthernetPort } from "./port.js";
import type { Ethernet } from "./segment.js";

/** Options of {@link relayWebSocket}. */
export interface RelayOptions {
  /**
   * How frames are told apart: `"frame"` where a message is a frame (v86, JSLinux, TinyEMU), `"length"` where messages are
   * pieces of a stream in which each frame stands behind its length, 4 octets big-endian (QEMU, container2wasm).
   */
  framing: "frame" | "length";
}

type Data = string | ArrayBufferLike | ArrayBufferView | Blob;

/** More than any frame has; a length beyond it is no length. */
const MAX_FRAME = 65_535 + 18;

/** Finds the frames in a stream. It keeps one that is not complete, at most. */
class Deframer {
  #rest: Uint8Array<ArrayBufferLike> = new Uint8Array();

  /** The frames that `octets` completes; `undefined` where they are no such stream. */
  take(octets: Uint8Array): Uint8Array[] | undefined {
    const all = new Uint8Array(this.#rest.length + octets.length);
    all.set(this.#rest);
    all.set(octets, this.#rest.length);
    const view = new DataView(all.buffer);
    const frames: Uint8Array[] = [];
    let at = 0;
    while (at + 4 <= all.length) {
      const length = view.getUint32(at);
      if (length === 0 || length > MAX_FRAME) return undefined;
      if (at + 4 + length > all.length) break;
      frames.push(all.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    this.#rest = all.slice(at);
    return frames;
  }
}

/**
 * A class to be put in the place of `WebSocket` where an emulator is started: each of its objects is a network card on the
 * segment. Addresses are not looked at. It has what emulators use: `binaryType` (always "arraybuffer"), the four events by
 * listener and by property, `readyState`, `protocol`, `bufferedAmount`, `send` and `close`.
 *
 * @example
 * const Module = { websocket: { url: "ws://here/" }, ... };
 * globalThis.WebSocket = relayWebSocket(net, { framing: "length" });
 */
export function relayWebSocket(net: Ethernet, { framing }: RelayOptions): typeof WebSocket {
  class RelayWebSocket extends WebSocketShape {
    readonly bufferedAmount = 0;
    binaryType = "arraybuffer";
    readyState = 0;
    onopen: ((event: Event) => void) | null = null;
    onmessage: ((event: MessageEvent) => void) | null = null;
    onclose: ((event: Event) => void) | null = null;
    onerror: ((event: Event) => void) | null = null;
    readonly #deframer = new Deframer();
    #listener: (frame: Uint8Array) => void = () => {};
    #port: EthernetPort | undefined;

    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      // Nobody listens yet.
      queueMicrotask(() => this.#open());
    }

    send(data: Data): void {
      if (this.readyState === 0) throw new DOMException("the WebSocket is not open yet", "InvalidStateError");
      if (this.readyState !== 1) return;
      if (typeof data === "string") return this.#answer(data);
      if (data instanceof Blob) return void data.arrayBuffer().then((buffer) => this.send(buffer));
      const octets = octetsOf(data);
      if (framing === "frame") return this.#listener(octets);
      const frames = this.#deframer.take(octets);
      if (frames === undefined) return this.#end(1002, "each frame stands behind its length, 4 octets");
      frames.forEach((frame) => this.#listener(frame));
    }

    close(): void {
      this.#end(1000, "");
    }

    #open(): void {
      if (this.readyState !== 0) return;
      try {
        this.#port = net.plug({
          onSend: (listener) => (this.#listener = listener),
          receive: (frame) => this.#message(framing === "frame" ? frame.slice().buffer : withLength(frame)),
        });
      } catch (error) {
        this.#tell(new Event("error"), this.onerror);
        return this.#end(1011, error instanceof Error ? error.message : "");
      }
      this.readyState = 1;
      this.#tell(new Event("open"), this.onopen);
    }

    /** The keep-alive of TinyEMU's relays. */
    #answer(text: string): void {
      if (text.startsWith("ping:")) queueMicrotask(() => this.#message(`pong:${text.slice(5)}`));
    }

    #message(data: ArrayBuffer | string): void {
      if (this.readyState === 1) this.#tell(new MessageEvent("message", { data }), this.onmessage);
    }

    #end(code: number, reason: string): void {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.#port?.unplug();
      const event = Object.assign(new Event("close"), { code, reason, wasClean: code === 1000 });
      queueMicrotask(() => this.#tell(event, this.onclose));
    }

    #tell<E extends Event>(event: E, property: ((event: E) => void) | null): void {
      this.dispatchEvent(event);
      property?.call(this, event);
    }
  }
  return RelayWebSocket as unknown as typeof WebSocket;
}

function withLength(frame: Uint8Array): ArrayBuffer {
  const message = new Uint8Array(4 + frame.length);
  new DataView(message.buffer).setUint32(0, frame.length);
  message.set(frame, 4);
  return message.buffer;
}
