/* Connections of a program that never blocks, only in select(): `flows HOST long OCTETS` reads so many of its characters
 * (RFC 864) and tells MB/s; `flows HOST short COUNT` opens so many connections, one after the other, each for an echo of
 * one octet (RFC 862), and tells how many there were per second. With two more arguments it goes by the SOCKS5 server
 * (RFC 1928) at this address and port; with one more, the ports are higher by that. Built with emcc's own sockets it has to
 * return to the page while it waits. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef RETURNING
#include <emscripten.h>
#define SECONDS 0
#define TURN() emscripten_sleep(0)
#else
#define SECONDS 10
#define TURN() fail("select")
#endif

enum { ECHO = 7, CHARACTERS = 19 };

static char buffer[1 << 18];
static const char *host;
static struct sockaddr_in proxy;
static int above;

static void fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void until_ready(int fd, int for_writing) {
  for (;;) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval limit = {SECONDS, 0};
    int count = select(fd + 1, for_writing ? NULL : &set, for_writing ? &set : NULL, NULL, &limit);
    if (count < 0) fail("select");
    if (count > 0) return;
    TURN();
  }
}

static void put(int fd, const void *octets, size_t length) {
  for (size_t sent = 0; sent < length;) {
    ssize_t count = send(fd, (const char *)octets + sent, length - sent, 0);
    if (count > 0) sent += count;
    else if (errno == EAGAIN) until_ready(fd, 1);
    else fail("send");
  }
}

static size_t take(int fd, size_t most) {
  for (;;) {
    ssize_t count = recv(fd, buffer, most, 0);
    if (count > 0) return count;
    if (count == 0 || errno != EAGAIN) fail("recv");
    until_ready(fd, 0);
  }
}

static void take_all(int fd, size_t length) {
  while (length > 0) length -= take(fd, length);
}

static int open_to(int port) {
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port + above)};
  if (inet_pton(AF_INET, host, &server.sin_addr) != 1) fail("the address");
  const struct sockaddr_in *next = proxy.sin_port ? &proxy : &server;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, (const struct sockaddr *)next, sizeof *next) < 0 && errno != EINPROGRESS) fail("connect");
  until_ready(fd, 1);
  if (next == &proxy) {
    unsigned char request[10] = {5, 1, 0, 1};
    memcpy(request + 4, &server.sin_addr, 4);
    memcpy(request + 8, &server.sin_port, 2);
    put(fd, "\5\1\0", 3);
    take_all(fd, 2);
    put(fd, request, sizeof request);
    /* Of its answer, which ends with an IPv4 address and a port, the second octet is the result. */
    take_all(fd, 2);
    if (buffer[1] != 0) fail("the proxy");
    take_all(fd, 8);
  }
  return fd;
}

int main(int argc, char **argv) {
  if (argc < 4 || argc > 6) return 2;
  host = argv[1];
  double amount = atof(argv[3]);
  if (argc == 5) above = atoi(argv[4]);
  if (argc == 6) {
    proxy.sin_family = AF_INET;
    proxy.sin_port = htons(atoi(argv[5]));
    if (inet_pton(AF_INET, argv[4], &proxy.sin_addr) != 1) fail("the proxy's address");
  }
  double start = now();
  if (strcmp(argv[2], "long") == 0) {
    int fd = open_to(CHARACTERS);
    for (double octets = 0; octets < amount;) octets += take(fd, sizeof buffer);
    printf("%.2f MB/s\n", amount / 1e6 / (now() - start));
    close(fd);
  } else {
    for (int i = 0; i < amount; i++) {
      int fd = open_to(ECHO);
      put(fd, "x", 1);
      take_all(fd, 1);
      close(fd);
    }
    printf("%.2f per second\n", amount / (now() - start));
  }
  exit(0);
}
