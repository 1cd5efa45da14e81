/** epoll: descriptors that are waited for together, told once (epoll(7)). */
import { Errno } from "../posix/errno.js";
import { EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, POLLERR, POLLHUP } from "./constants.js";

const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;

/** Descriptors that one instance watches; one more is refused with ENOSPC. */
const MAX_INTERESTS = 4096;

/** How deep one instance may lie in others, as on Linux. */
const MAX_DEPTH = 4;

/** What a descriptor stands for, seen by those who wait for it. */
export interface Source {
  /** What it is, however many descriptors it has. */
  readonly identity: object;
  /** False once its last descriptor is closed. */
  readonly open: boolean;
  /** Those of poll(). */
  readonly events: number;
  /** Changes with everything that an edge-triggered waiter has to hear of; absent where that cannot be told. */
  readonly edges: number | undefined;
}

interface Interest {
  readonly fd: number;
  readonly source: Source;
  events: number;
  data: Uint8Array;
  /** {@link Source.edges} when it was reported last; absent before. */
  seen: number | undefined;
  /** Reported once, by EPOLLONESHOT, and silent until it is set anew. */
  spent: boolean;
}

/** `struct epoll_event`. */
export interface EpollEvent {
  readonly events: number;
  /** Eight octets, the program's own. */
  readonly data: Uint8Array;
}

export class Epoll {
  /** In the order in which they are looked at: what was reported comes last, so that everybody has a turn. */
  #interests: Interest[] = [];

  /** epoll_ctl(): 0, or a negative errno. */
  control(operation: number, fd: number, source: Source, event: EpollEvent): number {
    const interest = this.#interests.find((each) => each.fd === fd && each.source.identity === source.identity);
    if (operation === CTL_ADD) return interest === undefined ? this.#add(fd, source, event) : -Errno.EEXIST;
    if (operation !== CTL_DEL && operation !== CTL_MOD) return -Errno.EINVAL;
    if (interest === undefined) return -Errno.ENOENT;
    if (operation === CTL_DEL) {
      this.#interests = this.#interests.filter((each) => each !== interest);
      return 0;
    }
    if ((event.events & EPOLLEXCLUSIVE) !== 0) return -Errno.EINVAL;
    Object.assign(interest, { ...event, seen: undefined, spent: false });
    return 0;
  }

  #add(fd: number, source: Source, event: EpollEvent): number {
    const { identity } = source;
    if (identity instanceof Epoll && (identity.#reaches(this) || identity.#depth >= MAX_DEPTH)) return -Errno.ELOOP;
    this.#interests = this.#interests.filter((each) => each.source.open);
    if (this.#interests.length >= MAX_INTERESTS) return -Errno.ENOSPC;
    this.#interests.push({ fd, source, ...event, seen: undefined, spent: false });
    return 0;
  }

  /** The next events, `room` at most. What is told of here counts as told. */
  collect(room: number): EpollEvent[] {
    const found: EpollEvent[] = [];
    const told: Interest[] = [];
    const others: Interest[] = [];
    for (const interest of this.#interests) {
      const { events, edges } = found.length < room ? due(interest) : NOTHING;
      if (events === 0) {
        others.push(interest);
        continue;
      }
      found.push({ events, data: interest.data });
      interest.seen = edges;
      interest.spent = (interest.events & EPOLLONESHOT) !== 0;
      told.push(interest);
    }
    if (told.length > 0) this.#interests = others.concat(told);
    return found;
  }

  /** Whether there is something to tell. */
  get ready(): boolean {
    return this.#interests.some((interest) => due(interest).events !== 0);
  }

  get #nested(): Epoll[] {
    return this.#interests.flatMap(({ source }) => (source.open && source.identity instanceof Epoll ? source.identity : []));
  }

  #reaches(other: Epoll): boolean {
    return this === other || this.#nested.some((each) => each.#reaches(other));
  }

  get #depth(): number {
    return 1 + Math.max(0, ...this.#nested.map((each) => each.#depth));
  }
}

/** The events that are to be told of, and for the edge-triggered the edges that they tell of. */
interface Due {
  readonly events: number;
  readonly edges: number | undefined;
}

const NOTHING: Due = { events: 0, edges: undefined };

function due({ source, events, seen, spent }: Interest): Due {
  if (spent || !source.open) return NOTHING;
  for (;;) {
    const edges = (events & EPOLLET) === 0 ? undefined : source.edges;
    if (edges !== undefined && edges === seen) return NOTHING;
    const told = source.events & (events | POLLERR | POLLHUP);
    // What happened between the two looks would be told of now, and again the next time. Rings fill up, so this ends.
    if (edges === undefined || edges === source.edges) return { events: told, edges };
  }
}
