/* Connections to an echo server: `echo HOST PORT parallel N` and `echo HOST PORT sequential N`. `echo HOST PORT wait 1`
 * has one to a server that says nothing, and tells how its recv() ends. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct addrinfo *server;

static int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static int open_socket(void) {
  int fd = socket(server->ai_family, SOCK_STREAM, 0);
  return fd < 0 ? fail("socket") : fd;
}

/* All at once: each has to come to an end by poll() alone. */
static void parallel(int count) {
  struct pollfd *entries = calloc(count, sizeof *entries);
  for (int i = 0; i < count; i++) {
    int fd = open_socket();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, server->ai_addr, server->ai_addrlen) == 0 || errno != EINPROGRESS) fail("connect");
    entries[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
  }
  for (int left = count; left > 0;) {
    if (poll(entries, count, 20000) <= 0) fail("poll");
    for (int i = 0; i < count; i++) {
      char text[32], answer[32];
      int length = snprintf(text, sizeof text, "connection %d", i);
      if (entries[i].fd < 0 || !entries[i].revents) continue;
      if (entries[i].events == POLLOUT) {
        if (write(entries[i].fd, text, length) != length) fail("write");
        entries[i].events = POLLIN;
      } else {
        if (read(entries[i].fd, answer, sizeof answer) != length || memcmp(text, answer, length)) fail("read");
        close(entries[i].fd);
        entries[i].fd = -1;
        left--;
      }
    }
  }
  printf("%d in parallel\n", count);
}

static void sequential(int count) {
  int first = -1;
  for (int i = 0; i < count; i++) {
    int fd = open_socket();
    char octet = i, answer;
    if (first < 0) first = fd;
    if (fd != first) fail("a descriptor was left open");
    if (connect(fd, server->ai_addr, server->ai_addrlen) < 0) fail("connect");
    if (write(fd, &octet, 1) != 1 || read(fd, &answer, 1) != 1 || answer != octet) fail("echo");
    shutdown(fd, SHUT_WR);
    if (read(fd, &answer, 1) != 0) fail("end");
    if (close(fd) < 0) fail("close");
  }
  printf("%d one after the other\n", count);
}

static void wait_for_nothing(void) {
  char octet;
  int fd = open_socket();
  if (connect(fd, server->ai_addr, server->ai_addrlen) < 0) fail("connect");
  puts("waiting");
  if (recv(fd, &octet, 1, 0) >= 0) puts("an answer");
  else puts(errno == ECONNRESET ? "ECONNRESET" : errno == ETIMEDOUT ? "ETIMEDOUT" : strerror(errno));
  if (send(fd, &octet, 1, MSG_NOSIGNAL) >= 0 || errno != EPIPE) fail("send after the end");
}

int main(int argc, char **argv) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  if (argc != 5) return 2;
  int error = getaddrinfo(argv[1], argv[2], &hints, &server);
  if (error) {
    printf("%s: %s\n", argv[1], gai_strerror(error));
    return 1;
  }
  if (strcmp(argv[3], "parallel") == 0) parallel(atoi(argv[4]));
  else if (strcmp(argv[3], "wait") == 0) wait_for_nothing();
  else sequential(atoi(argv[4]));
  return 0;
}
