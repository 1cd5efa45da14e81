/** The error-codes of wasi:sockets/network. */
import { Errno } from "../../posix/errno.js";

const CODES: Readonly<Record<number, string>> = {
  [Errno.EACCES]: "access-denied",
  [Errno.EADDRINUSE]: "address-in-use",
  [Errno.EADDRNOTAVAIL]: "address-not-bindable",
  [Errno.EAFNOSUPPORT]: "invalid-argument",
  [Errno.EAGAIN]: "would-block",
  [Errno.EALREADY]: "would-block",
  [Errno.ECONNABORTED]: "connection-aborted",
  [Errno.ECONNREFUSED]: "connection-refused",
  [Errno.ECONNRESET]: "connection-reset",
  [Errno.EDESTADDRREQ]: "invalid-argument",
  [Errno.EHOSTUNREACH]: "remote-unreachable",
  [Errno.EINPROGRESS]: "would-block",
  [Errno.EINVAL]: "invalid-argument",
  [Errno.EISCONN]: "invalid-state",
  [Errno.EMFILE]: "new-socket-limit",
  [Errno.EMSGSIZE]: "datagram-too-large",
  [Errno.ENETDOWN]: "remote-unreachable",
  [Errno.ENETUNREACH]: "remote-unreachable",
  [Errno.ENOBUFS]: "out-of-memory",
  [Errno.ENOTCONN]: "invalid-state",
  [Errno.EOPNOTSUPP]: "not-supported",
  [Errno.EPIPE]: "invalid-state",
  [Errno.ETIMEDOUT]: "timeout",
};

export function codeOf(errno: number): string {
  return CODES[errno] ?? "unknown";
}

/** jco takes what is thrown for the error of the `result`. */
export function fail(code: string): never {
  throw code;
}

/** Throws for a negative errno. */
export function done(result: number): number {
  if (result < 0) fail(codeOf(-result));
  return result;
}
