/** The `close()` that all three classes have. */
import { invalidState } from "../errors.js";

interface Closable {
  readonly state: "opening" | "open" | "closed";
  readonly closed: Promise<undefined>;
}

/**
 * Ends the given streams and returns the `closed` promise of the socket.
 *
 * Rejects with an `InvalidStateError` before the socket is open and while one of its streams is locked.
 */
export async function closeStreams(
  socket: Closable,
  readable: ReadableStream<unknown>,
  writable?: WritableStream<unknown>,
): Promise<undefined> {
  if (socket.state === "opening") throw invalidState("the socket is not open");
  if (readable.locked) throw invalidState("the readable stream is locked: release its reader");
  if (writable?.locked) throw invalidState("the writable stream is locked: release its writer");
  if (socket.state === "open") {
    await Promise.allSettled([readable.cancel(), writable?.abort()]);
  }
  return socket.closed;
}
