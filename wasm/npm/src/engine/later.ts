/** What runs behind that which waits already, by the cheapest way that the platform has. */

/** `scheduler.postTask` of browsers, `setImmediate` of Node; TypeScript's libraries know neither together. */
interface Platform {
  readonly scheduler?: { postTask(action: () => void, options: { priority: "user-visible" }): Promise<unknown> };
  readonly setImmediate?: (action: () => void) => unknown;
}

/** Calls `action` in a task of its own, behind the messages that have come in meanwhile. */
export const later: (action: () => void) => void = choose(globalThis as Platform);

function choose({ scheduler, setImmediate }: Platform): (action: () => void) => void {
  if (setImmediate) return setImmediate;
  if (scheduler?.postTask) return (action) => void scheduler.postTask(action, { priority: "user-visible" });
  const { port1, port2 } = new MessageChannel();
  const actions: (() => void)[] = [];
  port1.onmessage = () => actions.shift()?.();
  return (action) => {
    actions.push(action);
    port2.postMessage(0);
  };
}

/** Calls `action` in this task, when what waits for promises has had so many turns. */
export function afterMicrotasks(action: () => void, turns = 16): void {
  queueMicrotask(turns ? () => afterMicrotasks(action, turns - 1) : action);
}
