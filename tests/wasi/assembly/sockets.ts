// What AssemblyScript says to a host with WasmEdge's sockets.

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_open")
declare function sock_open(family: i32, type: i32, fd: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_connect")
declare function sock_connect(fd: i32, address: usize, port: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_send")
declare function sock_send(fd: i32, vectors: usize, count: i32, flags: i32, sent: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_recv")
declare function sock_recv(fd: i32, vectors: usize, count: i32, flags: i32, received: usize, out: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_shutdown")
declare function sock_shutdown(fd: i32, how: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_getaddrinfo")
declare function sock_getaddrinfo(
  node: usize, nodeLength: i32, service: usize, serviceLength: i32, hints: usize, result: usize, room: i32, length: usize,
): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(fd: i32, vectors: usize, count: i32, read: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: i32, vectors: usize, count: i32, written: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_close")
declare function fd_close(fd: i32): i32;

const INET4 = 1;
const STREAM = 2;
const SHUT_WRITE = 2;

const word = memory.data(8);
const vector = memory.data(8);

/** A line on the standard output. */
export function print(line: string): void {
  transfer(1, String.UTF8.encode(line + "\n"), false);
}

/** Writes all of a text, or reads what comes; the octets that went. */
function transfer(fd: i32, data: ArrayBuffer, read: bool): i32 {
  store<usize>(vector, changetype<usize>(data));
  store<i32>(vector, data.byteLength, 4);
  const errno = read ? fd_read(fd, vector, 1, word) : fd_write(fd, vector, 1, word);
  return errno == 0 ? load<i32>(word) : -errno;
}

/** The first IPv4 address of a name as it lies in memory, or a negative errno. */
function resolve(host: string, into: usize): i32 {
  const node = String.UTF8.encode(host);
  const hints = new ArrayBuffer(28);
  store<u8>(changetype<usize>(hints), INET4, 2);
  store<u8>(changetype<usize>(hints), STREAM, 3);
  const data = new ArrayBuffer(26);
  const sockaddr = new ArrayBuffer(12);
  store<i32>(changetype<usize>(sockaddr), data.byteLength, 4);
  store<usize>(changetype<usize>(sockaddr), changetype<usize>(data), 8);
  const entry = new ArrayBuffer(28);
  store<usize>(changetype<usize>(entry), changetype<usize>(sockaddr), 12);
  const result = new ArrayBuffer(4);
  store<usize>(changetype<usize>(result), changetype<usize>(entry));
  const at = changetype<usize>(node);
  const errno = sock_getaddrinfo(
    at, node.byteLength, at, 0, changetype<usize>(hints), changetype<usize>(result), 1, word,
  );
  if (errno != 0) return -errno;
  memory.copy(into, changetype<usize>(data) + 2, 4);
  return load<i32>(word) == 1 ? 0 : -1;
}

/** A connection to a host by its name, or a negative errno. */
export function connect(host: string, port: i32): i32 {
  const octets = new ArrayBuffer(4);
  const failed = resolve(host, changetype<usize>(octets));
  if (failed != 0) return failed;
  let errno = sock_open(INET4, STREAM, word);
  if (errno != 0) return -errno;
  const fd = load<i32>(word);
  const address = new ArrayBuffer(8);
  store<usize>(changetype<usize>(address), changetype<usize>(octets));
  store<i32>(changetype<usize>(address), 4, 4);
  errno = sock_connect(fd, changetype<usize>(address), port);
  return errno == 0 ? fd : -errno;
}

/** By `sock_send`. */
export function send(fd: i32, text: string): i32 {
  const data = String.UTF8.encode(text);
  store<usize>(vector, changetype<usize>(data));
  store<i32>(vector, data.byteLength, 4);
  const errno = sock_send(fd, vector, 1, 0, word);
  return errno == 0 ? load<i32>(word) : -errno;
}

/** By `sock_recv`: what has come, up to the size of the buffer. */
export function receive(fd: i32, into: ArrayBuffer): i32 {
  store<usize>(vector, changetype<usize>(into));
  store<i32>(vector, into.byteLength, 4);
  const errno = sock_recv(fd, vector, 1, 0, word, word + 4);
  return errno == 0 ? load<i32>(word) : -errno;
}

export function finish(fd: i32): i32 {
  return sock_shutdown(fd, SHUT_WRITE);
}

/** As files are written and read. */
export function write(fd: i32, text: string): i32 {
  return transfer(fd, String.UTF8.encode(text), false);
}

export function read(fd: i32, into: ArrayBuffer): i32 {
  return transfer(fd, into, true);
}

export function close(fd: i32): i32 {
  return fd_close(fd);
}
