/** Calls of a program's threads that wait: each thread sleeps by itself, and asks again by its ticket. */
import type { Task } from "./control.js";

/** Tickets are below all errno numbers: a ticket `t` is told as `PENDING - t`. The C part knows this number. */
const PENDING = -0x10000;

/** Milliseconds that a thread sleeps at most, so that it learns of the end of a tunnel that nobody told it of. */
const LONGEST = 1000;

interface Waiting {
  readonly task: Task<number>;
  milliseconds: number;
}

export class Suspended {
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  /** The result, or a ticket. */
  begin(task: Task<number>): number {
    const { done, value } = task.next();
    if (done) return value;
    // No program has so many threads that a ticket could come round while it is in use.
    this.#next = (this.#next + 1) & 0xffff;
    this.#waiting.set(this.#next, { task, milliseconds: value });
    return PENDING - this.#next;
  }

  /** As {@link begin}, for a ticket. */
  resume(ticket: number): number {
    const waiting = this.#waiting.get(PENDING - ticket);
    if (waiting === undefined) return 0;
    const { done, value } = waiting.task.next();
    if (!done) waiting.milliseconds = value;
    else this.#waiting.delete(PENDING - ticket);
    return done ? value : ticket;
  }

  /** Milliseconds, rounded up, for which the thread may sleep before it asks again. */
  limit(ticket: number): number {
    return Math.ceil(Math.min(this.#waiting.get(PENDING - ticket)?.milliseconds ?? 0, LONGEST));
  }
}
