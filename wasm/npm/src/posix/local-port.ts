/** A pair of {@link ProgramPort}s within one thread: messages arrive by reference, in a microtask of their own. */
import type { ProgramPort } from "./layout.js";

class LocalPort implements ProgramPort {
  onmessage: ((event: MessageEvent) => void) | null = null;
  other: LocalPort | undefined;

  postMessage(message: unknown): void {
    const { other } = this;
    queueMicrotask(() => other?.onmessage?.({ data: message } as MessageEvent));
  }

  /** Nothing ends one side without the other: they are of one thread. */
  addEventListener(): void {}

  start(): void {}

  close(): void {
    this.other = undefined;
  }
}

export function localPorts(): [ProgramPort, ProgramPort] {
  const [one, two] = [new LocalPort(), new LocalPort()];
  one.other = two;
  two.other = one;
  return [one, two];
}
