/** The errno values of WebAssembly's C libraries (those of WASI, which emscripten's musl has, too). */
import type { ErrorCode } from "../errors.js";

export const Errno = {
  EACCES: 2,
  EADDRINUSE: 3,
  EADDRNOTAVAIL: 4,
  EAFNOSUPPORT: 5,
  EAGAIN: 6,
  EALREADY: 7,
  EBADF: 8,
  ECONNABORTED: 13,
  ECONNREFUSED: 14,
  ECONNRESET: 15,
  EDESTADDRREQ: 17,
  EEXIST: 20,
  EHOSTUNREACH: 23,
  EINPROGRESS: 26,
  EINVAL: 28,
  EIO: 29,
  EISCONN: 30,
  ELOOP: 32,
  EMFILE: 33,
  EMSGSIZE: 35,
  ENETDOWN: 38,
  ENETUNREACH: 40,
  ENOBUFS: 42,
  ENOENT: 44,
  ENOPROTOOPT: 50,
  ENOSPC: 51,
  ENOTCONN: 53,
  ENOTSOCK: 57,
  ENOTTY: 59,
  EPERM: 63,
  EPIPE: 64,
  EPROTO: 65,
  EPROTONOSUPPORT: 66,
  EPROTOTYPE: 67,
  ETIMEDOUT: 73,
  EOPNOTSUPP: 138,
  ESOCKTNOSUPPORT: 137,
} as const;

/** Codes of the stack that have no errno of their own name, or one that no program on Linux would meet there. */
const OTHERS: Partial<Record<ErrorCode, number>> = {
  EAI_AGAIN: Errno.EAGAIN,
  ENOTFOUND: Errno.ENOENT,
  ENOTSUP: Errno.EOPNOTSUPP,
  ENETRESET: Errno.ECONNRESET,
};

/** The errno that a program sees. */
export function errnoOf(code: ErrorCode): number {
  return OTHERS[code] ?? (Errno as Partial<Record<string, number>>)[code] ?? Errno.EIO;
}
