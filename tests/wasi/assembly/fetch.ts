// Connects by host name, sends, receives, and fetches a file over HTTP.
import { close, connect, finish, print, read, receive, send, write } from "./sockets";

function echo(): void {
  const fd = connect("echo.playground.test", 7);
  if (fd < 0) return print("connect: " + fd.toString());
  const sent = send(fd, "hello");
  const buffer = new ArrayBuffer(64);
  let got = "";
  while (got.length < sent) {
    const length = receive(fd, buffer);
    if (length <= 0) return print("receive: " + length.toString());
    got += String.UTF8.decode(buffer.slice(0, length));
  }
  print("echoed: " + got);
  print("finished: " + finish(fd).toString() + " " + receive(fd, buffer).toString());
  print("closed: " + close(fd).toString() + " " + close(fd).toString());
}

/** Octets behind the head of the answer. */
function fetch(host: string, path: string): i32 {
  const fd = connect(host, 80);
  if (fd < 0) return fd;
  write(fd, "GET " + path + " HTTP/1.0\r\nHost: " + host + "\r\n\r\n");
  const buffer = new ArrayBuffer(32768);
  const octets = Uint8Array.wrap(buffer);
  let body = 0;
  let newlines = 0;
  for (;;) {
    const length = read(fd, buffer);
    if (length <= 0) break;
    let at = 0;
    // The head ends with an empty line.
    while (newlines < 2 && at < length) {
      const octet = octets[at++];
      if (octet == 10) newlines += 1;
      else if (octet != 13) newlines = 0;
    }
    body += length - at;
  }
  close(fd);
  return body;
}

function main(): void {
  echo();
  print("body: " + fetch("www.playground.test", "/blob?size=300000").toString());
  print("unknown: " + connect("nobody.playground.test", 80).toString());
  print("refused: " + connect("www.playground.test", 1).toString());
}

main();
