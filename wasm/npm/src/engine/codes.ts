/** The failure codes of the WebAssembly stack (`wasm/src/codes.rs`; a test compares the two tables). */
import { failure, type ErrorCode, type Failure } from "../errors.js";

/** Number to name; 0 is no failure. */
export const CODES: Readonly<Record<number, ErrorCode>> = {
  16: "EACCES",
  17: "EADDRINUSE",
  18: "EADDRNOTAVAIL",
  19: "EAGAIN",
  20: "EAI_AGAIN",
  21: "ECONNABORTED",
  22: "ECONNREFUSED",
  23: "ECONNRESET",
  24: "EHOSTUNREACH",
  25: "EINVAL",
  26: "EIO",
  27: "EMFILE",
  28: "EMSGSIZE",
  29: "ENETDOWN",
  30: "ENETRESET",
  31: "ENETUNREACH",
  32: "ENOBUFS",
  33: "ENOTCONN",
  34: "ENOTFOUND",
  35: "ENOTSUP",
  36: "EPIPE",
  37: "EPROTO",
  38: "ETIMEDOUT",
};

/** The failure that a code of the stack means; the sign does not matter. */
export function failureOf(code: number): Failure {
  return failure(CODES[Math.abs(code)] ?? "EIO");
}

/** Why a session is over; `reason` is what the gateway said. */
export function endOf(code: number, reason: string): Failure {
  if (code === 0) return failure("ENETDOWN");
  const { code: name, message } = failureOf(code);
  return failure(name, reason || message);
}
