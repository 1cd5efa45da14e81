/* Connections to an echo server: `echo HOST PORT parallel N` and `echo HOST PORT sequential N`. `echo HOST PORT wait 1`
 * has one to a server that says nothing, and tells how its recv() ends; `echo HOST PORT pingpong N` tells the middle one of
 * N round trips of one octet. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Connections after which a program has the memory that it needs. */
enum { WARM_UP = 100 };

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
  void *memory = NULL;
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
    if (i == WARM_UP) memory = sbrk(0);
  }
  if (count > WARM_UP && sbrk(0) != memory) fail("memory was left in use");
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

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int by_size(const void *one, const void *other) {
  double difference = *(const double *)one - *(const double *)other;
  return difference < 0 ? -1 : difference > 0;
}

static void pingpong(int count) {
  char octet = 'x';
  int fd = open_socket();
  double *times = calloc(count, sizeof *times);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  if (connect(fd, server->ai_addr, server->ai_addrlen) < 0) fail("connect");
  for (int i = 0; i < count; i++) {
    double start = now_ms();
    if (send(fd, &octet, 1, MSG_NOSIGNAL) != 1 || recv(fd, &octet, 1, 0) != 1) fail("echo");
    times[i] = now_ms() - start;
  }
  qsort(times, count, sizeof *times, by_size);
  printf("%.3f ms\n", times[count / 2]);
}

int main(int argc, char **argv) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  if (argc != 5) return 2;
  int error = getaddrinfo(argv[1], argv[2], &hints, &server);
  if (error) {
    printf("%s: %s\n", argv[1], gai_strerror(error));
    return 1;
  }
  if (atoi(argv[4]) < 1) return 2;
  if (strcmp(argv[3], "parallel") == 0) parallel(atoi(argv[4]));
  else if (strcmp(argv[3], "wait") == 0) wait_for_nothing();
  else if (strcmp(argv[3], "pingpong") == 0) pingpong(atoi(argv[4]));
  else sequential(atoi(argv[4]));
  return 0;
}
