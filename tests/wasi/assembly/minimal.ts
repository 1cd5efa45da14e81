// `sock_connect(ipv4, port, *fd)`, as early experiments with WASI had it; the rest is reading and writing files.
import { close, print, read, write } from "./sockets";

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_connect")
declare function sock_connect(ipv4: u32, port: i32, fd: usize): i32;

/** 198.18.0.2, the first octet the highest. */
const ECHO: u32 = 0xc6120002;

function main(): void {
  const fd = new ArrayBuffer(4);
  const errno = sock_connect(ECHO, 7, changetype<usize>(fd));
  if (errno != 0) return print("connect: " + errno.toString());
  const socket = load<i32>(changetype<usize>(fd));
  const buffer = new ArrayBuffer(16);
  const sent = write(socket, "minimal");
  const length = read(socket, buffer);
  print(sent.toString() + " octets, " + String.UTF8.decode(buffer.slice(0, length)) + " " + close(socket).toString());
}

main();
