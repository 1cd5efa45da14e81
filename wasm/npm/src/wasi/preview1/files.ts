/** The functions of wasi_snapshot_preview1 that take any descriptor: sockets here, the rest to the shim. */
import { close } from "../../emscripten/connection.js";
import type { Socket } from "../../emscripten/socket.js";
import { receive, send } from "../../emscripten/transfer.js";
import { FIRST } from "./descriptors.js";
import { Failed, type Context, type Import } from "./context.js";
import { WasiErrno } from "./errno.js";

const NONBLOCK = 4;
const FILETYPE_DATAGRAM = 5;
const FILETYPE_STREAM = 6;

/** FD_READ, FD_FDSTAT_SET_FLAGS, FD_WRITE, FD_FILESTAT_GET, POLL_FD_READWRITE, SOCK_SHUTDOWN, SOCK_ACCEPT. */
const RIGHTS = [1, 3, 6, 21, 27, 28, 29].reduce((rights, bit) => rights | (1n << BigInt(bit)), 0n);

const FDSTAT_SIZE = 24;
const FILESTAT_SIZE = 64;

/** What a function answers that makes no sense for a socket, as on Linux. */
const REFUSED: Readonly<Record<string, number>> = {
  fd_advise: WasiErrno.ESPIPE,
  fd_allocate: WasiErrno.ESPIPE,
  fd_datasync: WasiErrno.EINVAL,
  fd_fdstat_set_rights: WasiErrno.ENOTSUP,
  fd_filestat_set_size: WasiErrno.EINVAL,
  fd_filestat_set_times: WasiErrno.ENOTSUP,
  fd_pread: WasiErrno.ESPIPE,
  fd_prestat_dir_name: WasiErrno.EBADF,
  fd_prestat_get: WasiErrno.EBADF,
  fd_pwrite: WasiErrno.ESPIPE,
  fd_readdir: WasiErrno.ENOTDIR,
  fd_seek: WasiErrno.ESPIPE,
  fd_sync: WasiErrno.EINVAL,
  fd_tell: WasiErrno.ESPIPE,
};

function fileType(socket: Socket): number {
  return socket.stream ? FILETYPE_STREAM : FILETYPE_DATAGRAM;
}

function describe(context: Context, fd: number, at: number): void {
  const socket = context.socket(fd);
  const octets = context.octets(at, FDSTAT_SIZE).fill(0);
  const view = new DataView(octets.buffer, octets.byteOffset, FDSTAT_SIZE);
  view.setUint8(0, fileType(socket));
  view.setUint16(2, socket.nonBlocking ? NONBLOCK : 0, true);
  view.setBigUint64(8, RIGHTS, true);
}

/** dup2() and away with the first; a number of a file cannot be given to a socket. */
function renumber(context: Context, from: number, to: number): void {
  context.socket(from);
  if (to < FIRST) throw new Failed(WasiErrno.ENOTSUP);
  const replaced = context.socket(to);
  if (from === to) return;
  close(context.channel, replaced);
  context.descriptors.move(from, to);
}

/** The functions for sockets; the first parameter of each is a descriptor. */
function ofSockets(context: Context): Record<string, (fd: number, ...rest: number[]) => void> {
  const { channel, memory } = context;
  return {
    fd_read(fd, at = 0, count = 0, lengthAt = 0) {
      const { length } = receive(channel, context.socket(fd), context.vectors(at, count), 0);
      memory.setI32(lengthAt, context.done(length));
    },
    fd_write(fd, at = 0, count = 0, lengthAt = 0) {
      const length = send(channel, context.socket(fd), context.vectors(at, count), 0, undefined);
      memory.setI32(lengthAt, context.done(length));
    },
    fd_close(fd) {
      close(channel, context.socket(fd));
      context.descriptors.remove(fd);
    },
    fd_fdstat_get: (fd, at = 0) => describe(context, fd, at),
    fd_fdstat_set_flags(fd, flags = 0) {
      const socket = context.socket(fd);
      if ((flags & ~NONBLOCK) !== 0) throw new Failed(WasiErrno.EINVAL);
      socket.nonBlocking = (flags & NONBLOCK) !== 0;
    },
    fd_filestat_get(fd, at = 0) {
      const socket = context.socket(fd);
      context.octets(at, FILESTAT_SIZE).fill(0)[16] = fileType(socket);
    },
    fd_renumber: (from, to = 0) => renumber(context, from, to),
  };
}

/** The shim's functions, each with that of the sockets before it. */
export function fileImports(context: Context, shim: Readonly<Record<string, Import>>): Record<string, Import> {
  const sockets = ofSockets(context);
  const both = Object.keys({ ...shim, ...sockets, ...REFUSED }).filter((name) => name.startsWith("fd_"));
  return Object.fromEntries(both.map((name) => {
    const file = shim[name] as ((...parameters: unknown[]) => unknown) | undefined;
    const socket = sockets[name];
    const call = (...parameters: [number, ...number[]]): unknown => {
      if (parameters[0] < FIRST) return file === undefined ? WasiErrno.EBADF : file(...parameters);
      return context.call(() => {
        if (socket !== undefined) return socket(...parameters);
        context.socket(parameters[0]);
        throw new Failed(REFUSED[name] ?? WasiErrno.ENOTSUP);
      });
    };
    return [name, call as Import];
  }));
}
