/* Octets: partial reads, ends, resets. */
#include "conformance.h"

/* Until so much waits at `fd`. */
static void await_octets(int fd, int wanted) {
  int waiting = 0;
  long start = now_ms();
  while (waiting < wanted && now_ms() - start < 3000) {
    ioctl(fd, FIONREAD, &waiting);
    poll(NULL, 0, 2);
  }
}

static void forms(void) {
  int client, server, waiting = 0;
  char data[64] = {0};
  tcp_pair(&client, &server);
  printf("send: %s\n", outcome(send(client, "hello world", 11, MSG_NOSIGNAL)));
  printf("peek: %s", outcome(recv(server, data, 5, MSG_PEEK)));
  printf(" %.5s\n", data);
  await_octets(server, 11);
  printf("FIONREAD: %s", outcome(ioctl(server, FIONREAD, &waiting)));
  printf(" %d\n", waiting);
  printf("partial read: %s\n", outcome(read(server, data, 6)));
  printf("rest: %s\n", outcome(recv(server, data, sizeof data, 0)));
  printf("nothing left: %s\n", outcome(recv(server, data, sizeof data, MSG_DONTWAIT)));
  struct iovec out[] = {{"ab", 2}, {"", 0}, {"cde", 3}}, in[] = {{data, 1}, {data + 10, 4}};
  printf("writev: %s\n", outcome(writev(client, out, 3)));
  await_octets(server, 5);
  printf("readv: %s\n", outcome(readv(server, in, 2)));
  printf("scattered: %c %.4s\n", data[0], data + 10);
  write(client, "xy", 2);
  await_octets(server, 2);
  printf("readv of less than there is room: %s\n", outcome(readv(server, in, 2)));
  struct msghdr message = {.msg_iov = out, .msg_iovlen = 3};
  printf("sendmsg: %s\n", outcome(sendmsg(client, &message, 0)));
  write(client, "fg", 2);
  memset(data, 0, sizeof data);
  printf("MSG_WAITALL: %s\n", outcome(recv(server, data, 7, MSG_WAITALL)));
  printf("all: %s\n", data);
  printf("zero octets: %s %s\n", outcome(recv(server, data, 0, MSG_DONTWAIT)), outcome(send(client, data, 0, 0)));
  close(client);
  close(server);
}

static void ends(void) {
  int client, server;
  char data[8];
  tcp_pair(&client, &server);
  write(client, "last", 4);
  printf("half-close: %s\n", outcome(shutdown(client, SHUT_WR)));
  printf("before the end: %s\n", outcome(recv(server, data, 8, MSG_WAITALL)));
  printf("the end: %s %s\n", outcome(read(server, data, 8)), outcome(read(server, data, 8)));
  printf("write after shutdown: %s\n", outcome(send(client, "x", 1, MSG_NOSIGNAL)));
  printf("the other way: %s\n", outcome(write(server, "back", 4)));
  printf("is open: %s\n", outcome(recv(client, data, 4, MSG_WAITALL)));
  printf("shutdown twice: %s\n", outcome(shutdown(client, SHUT_WR)));
  printf("shutdown how: %s\n", outcome(shutdown(client, 3)));
  printf("reading: %s", outcome(shutdown(server, SHUT_RD)));
  printf(" %s\n", outcome(read(server, data, 8)));
  close(client);
  close(server);
}

static void resets(void) {
  int client, server;
  char data[8];
  struct linger linger = {1, 0};
  tcp_pair(&client, &server);
  setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(client);
  short events = await_events(server, POLLIN | POLLOUT, POLLERR);
  printf("poll after a reset: %d %d %d\n", !!(events & POLLIN), !!(events & POLLERR), !!(events & POLLHUP));
  printf("reset: %s\n", outcome(read(server, data, 8)));
  printf("and after it: %s\n", outcome(read(server, data, 8)));
  printf("write after a reset: %s\n", outcome(send(server, "x", 1, MSG_NOSIGNAL)));
  close(server);
  tcp_pair(&client, &server);
  write(client, "unread", 6);
  await_octets(server, 6);
  close(server);
  printf("closed with data unread: %s\n", outcome(read(client, data, 8)));
  close(client);
}

static void volume(void) {
  enum { LENGTH = 3000000 };
  int client, server, wrong = 0;
  unsigned char *out = malloc(LENGTH);
  /* A program of a later emcc has a stack of 64 KiB. */
  static unsigned char in[65536];
  for (int i = 0; i < LENGTH; i++) out[i] = i * 31 >> 3;
  tcp_pair(&client, &server);
  fcntl(client, F_SETFL, O_NONBLOCK);
  long sent = 0, received = 0;
  while (received < LENGTH) {
    ssize_t count = sent < LENGTH ? send(client, out + sent, LENGTH - sent, MSG_NOSIGNAL) : 0;
    if (count > 0) sent += count;
    count = recv(server, in, sizeof in, 0);
    if (count <= 0) break;
    wrong |= memcmp(in, out + received, count);
    received += count;
  }
  printf("3 MB: %ld received, %s\n", received, wrong ? "damaged" : "whole");
  free(out);
  close(client);
  close(server);
}

static void six(void) {
  int listener = socket(AF_INET6, SOCK_STREAM, 0), client = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any}, peer;
  socklen_t length = sizeof peer;
  char text[64];
  printf("bind to ::: %s\n", outcome(bind(listener, (struct sockaddr *)&local, sizeof local)));
  printf("listen: %s\n", outcome(listen(listener, 8)));
  struct sockaddr_in6 remote = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
  remote.sin6_port = htons(port_of(listener));
  printf("connect to ::1: %s\n", outcome(connect(client, (struct sockaddr *)&remote, sizeof remote)));
  int server = accept(listener, (struct sockaddr *)&peer, &length);
  printf("peer: %s %d\n", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text), (int)length);
  close(server);
  close(client);
  struct sockaddr_in mapped = loopback(port_of(listener));
  client = socket(AF_INET, SOCK_STREAM, 0);
  printf("IPv4 at a listener at ::: %s\n", outcome(connect(client, (struct sockaddr *)&mapped, sizeof mapped)));
  length = sizeof peer;
  server = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK);
  printf("mapped peer: %s\n", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text));
  printf("accept4: %s\n", outcome(read(server, text, 1)));
  close(server);
  close(client);
  close(listener);
}

void streams(void) {
  forms();
  ends();
  resets();
  volume();
  six();
}
