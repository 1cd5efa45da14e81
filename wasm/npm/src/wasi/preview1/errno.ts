/** Errno values of wasi_snapshot_preview1 beside those of the sockets, and those that WasmEdge adds for names. */
import { Errno } from "../../posix/errno.js";

export const WasiErrno = {
  ...Errno,
  EFAULT: 21,
  ENOTDIR: 54,
  ENOTSUP: 58,
  ESPIPE: 70,
  AIAGAIN: 78,
  AIBADFLAG: 79,
  AIFAIL: 80,
  AIFAMILY: 81,
  AIMEMORY: 82,
  AINONAME: 84,
  AISERVICE: 85,
} as const;

/** What a call of the sockets gives (0 or more, or a negative errno) as an errno; WASI ends where Linux goes on. */
export function errnoFor(result: number): number {
  if (result >= 0) return 0;
  const last = 76;
  return -result > last ? WasiErrno.ENOTSUP : -result;
}
