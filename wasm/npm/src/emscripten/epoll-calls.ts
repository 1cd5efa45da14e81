/** The functions of <sys/epoll.h> over the program's descriptors and memory. */
import { Errno } from "../posix/errno.js";
import { S_IFDIR, S_IFMT, S_IFREG } from "./constants.js";
import type { Descriptors } from "./descriptors.js";
import type { FileStream, FileSystem, Memory } from "./environment.js";
import { Epoll, type Source } from "./epoll.js";

/** `struct epoll_event`, whose second part is aligned to its eight octets. */
const EVENT_SIZE = 16;
const DATA_AT = 8;
const DATA_SIZE = 8;

/** What the calls need of the program. */
export interface EpollPlace {
  readonly FS: FileSystem;
  readonly memory: Memory;
  readonly descriptors: Descriptors;
  /** Those of poll(). */
  events(file: FileStream): number;
  /** The errno of a tunnel that is gone, or 0. */
  down(): number;
}

export class EpollCalls {
  readonly #place: EpollPlace;

  constructor(place: EpollPlace) {
    this.#place = place;
  }

  create(): number {
    return this.#place.descriptors.openEpoll(new Epoll());
  }

  /** @param at - a `struct epoll_event` */
  control(epfd: number, operation: number, fd: number, at: number): number {
    const { FS, memory } = this.#place;
    const [file, target] = [FS.getStream(epfd), FS.getStream(fd)];
    if (!file || !target) return -Errno.EBADF;
    const kind = (target.node?.mode ?? 0) & S_IFMT;
    if (kind === S_IFREG || kind === S_IFDIR) return -Errno.EPERM;
    if (file.epoll === undefined || file.epoll === target.epoll) return -Errno.EINVAL;
    const event = at === 0 ? { events: 0, data: new Uint8Array(DATA_SIZE) }
      : { events: memory.i32(at), data: memory.octets(at + DATA_AT, DATA_SIZE).slice() };
    return file.epoll.control(operation, fd, this.#source(fd, target), event);
  }

  /** Writes up to `room` events; gives how many, and `undefined` where there is none yet. */
  look(epfd: number, at: number, room: number): number | undefined {
    const { FS, memory } = this.#place;
    const file = FS.getStream(epfd);
    if (!file) return -Errno.EBADF;
    if (file.epoll === undefined || room <= 0) return -Errno.EINVAL;
    const found = file.epoll.collect(room);
    for (const [index, { events, data }] of found.entries()) {
      const entry = at + EVENT_SIZE * index;
      memory.setI32(entry, events);
      memory.octets(entry + DATA_AT, DATA_SIZE).set(data);
    }
    return found.length || undefined;
  }

  #source(fd: number, file: FileStream): Source {
    const { FS, events, down } = this.#place;
    const { socket } = file;
    return {
      identity: socket ?? file.epoll ?? file,
      get open() {
        return socket === undefined ? FS.getStream(fd) === file : socket.references > 0;
      },
      get events() {
        return events(file);
      },
      get edges() {
        return socket?.edges(down());
      },
    };
  }
}
