/**
 * The errors of a socket. Each cause has a code of its own, named after the errno that a POSIX program would see.
 */

const MESSAGES = {
  CERT_HAS_EXPIRED: "the server's certificate has expired",
  CERT_NOT_YET_VALID: "the server's certificate is not valid yet",
  CERT_REJECTED: "the server's certificate cannot be accepted",
  EACCES: "the gateway's policy does not allow this destination",
  EADDRINUSE: "the address is in use",
  EADDRNOTAVAIL: "the address is not one of this tunnel's",
  EAFNOSUPPORT: "the tunnel has no address of this family",
  EAGAIN: "the gateway has reached a limit; try later",
  EAI_AGAIN: "no name server answered in time",
  ECONNABORTED: "the socket was closed meanwhile",
  ECONNREFUSED: "the destination refused the connection",
  ECONNRESET: "the other side reset the connection",
  EHOSTUNREACH: "the destination host is unreachable",
  EINVAL: "an argument is invalid",
  EIO: "the network stack failed",
  EMFILE: "too many open sockets",
  EMSGSIZE: "the datagram is too long",
  ENETDOWN: "the tunnel is closed",
  ENETRESET: "the session was lost",
  ENETUNREACH: "the destination network is unreachable",
  ENOBUFS: "no port or buffer is left",
  ENOTCONN: "the socket is not connected",
  ENOTFOUND: "the name does not exist",
  ENOTSUP: "the gateway does not support this",
  EPIPE: "this side is closed",
  EPROTO: "the other side broke the protocol",
  ERR_TLS_CERT_ALTNAME_INVALID: "the server's certificate is for another name",
  ETIMEDOUT: "the destination did not answer in time",
  UNABLE_TO_GET_ISSUER_CERT: "the certificate is issued by nobody who is trusted",
} as const;

/** What went wrong: an errno name, `EAI_AGAIN` for a name server that does not answer, or Node's word for a certificate. */
export type ErrorCode = keyof typeof MESSAGES;

/** An error in the shape that crosses from the Worker to the page. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

/** The `cause` of every {@link DOMException} that a socket throws. */
export interface SocketErrorCause extends Error {
  readonly code: ErrorCode;
}

/** Makes a {@link Failure}; without `message` the code's own text. */
export function failure(code: ErrorCode, message: string = MESSAGES[code]): Failure {
  return { code, message };
}

/**
 * The exception that a program sees: a `DOMException` as the Direct Sockets text demands, whose `code` and `cause.code`
 * say which failure it was.
 *
 * @param context - what was attempted, such as `connect to db.example port 5432`
 */
export function toException(cause: Failure, context?: string): DOMException {
  const message = context === undefined ? cause.message : `${context}: ${cause.message}`;
  const inner = Object.assign(new Error(cause.message), { code: cause.code });
  const exception = new DOMException(message, cause.code === "EACCES" ? "NotAllowedError" : "NetworkError");
  Object.defineProperty(exception, "cause", { value: inner, configurable: true, writable: true });
  Object.defineProperty(exception, "code", { value: cause.code, configurable: true, enumerable: true });
  return exception;
}

/**
 * The code of an error that a socket threw, or `undefined` for any other error.
 *
 * @example
 * try {
 *   await socket.opened;
 * } catch (error) {
 *   if (errorCode(error) === "ECONNREFUSED") console.log("nothing listens there");
 * }
 */
export function errorCode(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && code in MESSAGES ? (code as ErrorCode) : undefined;
}

/** An `InvalidStateError`, for a call that the state of the object does not allow. */
export function invalidState(message: string): DOMException {
  return new DOMException(message, "InvalidStateError");
}

/** The words of anything thrown. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Turns anything thrown inside the engine into a {@link Failure}. */
export function asFailure(error: unknown): Failure {
  if (typeof error === "object" && error !== null && "code" in error && "message" in error) {
    const { code, message } = error as { code: unknown; message: unknown };
    if (typeof code === "string" && code in MESSAGES) return { code: code as ErrorCode, message: String(message) };
  }
  return failure("EIO", wordsOf(error));
}
