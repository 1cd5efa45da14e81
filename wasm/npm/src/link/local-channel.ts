/** A {@link Channel} to an engine in the same thread. */
import type { Channel } from "./link.js";
import type { Command, EngineEvent } from "./protocol.js";

/** The engine as a channel sees it. */
export interface EnginePort {
  handleCommands(commands: Command[]): void;
  /** See {@link Channel.offer}. */
  offer(handle: number, octets: Uint8Array): number;
  /** Set by the channel. */
  onevents: (events: EngineEvent[], transfer: ArrayBuffer[]) => void;
  stop(): void;
}

/** Commands are a plain call; events come in a microtask of their own, so that neither side is re-entered. */
export function openLocalChannel(engine: EnginePort): Channel {
  const channel: Channel = {
    post: (commands) => engine.handleCommands(commands),
    offer: (handle, octets) => engine.offer(handle, octets),
    onevents: () => {},
    onfailure: () => {},
    terminate: () => engine.stop(),
  };
  engine.onevents = (events) => queueMicrotask(() => channel.onevents(events));
  return channel;
}
