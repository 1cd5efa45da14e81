/** What the engine's sockets for programs have in common. */
import type { Failure } from "../errors.js";
import type { SocketOwner } from "../engine/context.js";
import type { Context } from "../engine/context.js";
import { errnoOf } from "./errno.js";
import { State, Word } from "./layout.js";
import type { Shared } from "./ring.js";

/** What a socket needs of the program's host. */
export interface Owner {
  readonly context: Context;
  /** Connections outwards are the gateway's, where it makes them. */
  readonly split: boolean;
  /** Something has changed in shared memory: the program shall look again. */
  changed(): void;
  /** This socket needs the engine no more. */
  forget(id: number): void;
}

export interface ProgramSocket extends SocketOwner {
  readonly shared: Shared;
  /** The program may have written to its ring or read from it. */
  pump(): void;
  /** The program has closed it; `abort` asks for a reset. */
  close(abort: boolean): void;
}

/**
 * Ends a connection in both directions with a pending error; one that goes down with its tunnel was reset. Once: a program
 * that has taken the error does not meet it again. The error comes first, so that who finds an end finds its cause.
 */
export function breakWith(shared: Shared, cause: Failure): void {
  if (shared.get(Word.TxEnd) === 1 && shared.get(Word.RxEnd) === 1) return;
  const connected = shared.get(Word.State) === State.Connected;
  shared.set(Word.Error, errnoOf(connected && cause.code === "ENETDOWN" ? "ECONNRESET" : cause.code));
  shared.set(Word.TxEnd, 1);
  shared.set(Word.RxEnd, 1);
  if (shared.get(Word.State) === State.Connecting) shared.set(Word.State, State.Failed);
}
