/** Where an emulator's network card is plugged in. */

/** An emulator's network card, as the segment sees it. Frames are whole Ethernet frames without their check sequence. */
export interface NetworkCard {
  /** Has `listener` called with each frame that the machine sends, which is copied before that returns. */
  onSend(listener: (frame: Uint8Array) => void): void;
  /** Takes a frame for the machine: a view, so what is kept has to be copied before that returns. */
  receive(frame: Uint8Array<ArrayBuffer>): void;
  /** False while another frame would be lost; absent where there is always room. */
  hasRoom?(): boolean;
}

/** A network card's place on the segment. */
export interface EthernetPort {
  /** Pulls the plug. The tunnels of the card's machine wait a while for it. */
  unplug(): void;
}

/** What a port needs of its segment. */
export interface Socket {
  send(frame: Uint8Array): void;
  /** The next frame for the card, as a view. */
  poll(): Uint8Array<ArrayBuffer> | undefined;
  unplug(): void;
  /** True while the segment is at work, and a frame has to wait until it is not. */
  busy(): boolean;
}

export class Port implements EthernetPort {
  readonly #card: NetworkCard;
  readonly #socket: Socket;
  #plugged = true;

  constructor(card: NetworkCard, socket: Socket) {
    this.#card = card;
    this.#socket = socket;
    card.onSend((frame) => {
      // What waits must not change meanwhile: a frame may be a view of the card's memory.
      if (this.#plugged) socket.send(socket.busy() ? frame.slice() : frame);
    });
  }

  get hasRoom(): boolean {
    return this.#card.hasRoom?.() ?? true;
  }

  /** Gives the card the next frame, if there is one. */
  take(): boolean {
    const frame = this.#socket.poll();
    if (frame === undefined) return false;
    try {
      this.#card.receive(frame);
    } catch (error) {
      // The emulator's trouble is not that of its neighbours; it is reported as with an event's listener.
      queueMicrotask(() => {
        throw error;
      });
    }
    return true;
  }

  unplug(): void {
    if (!this.#plugged) return;
    this.#plugged = false;
    this.#socket.unplug();
  }
}
