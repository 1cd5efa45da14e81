/* Threads that use sockets at once: `threads HOST PORT N` has N of them at an echo server, each with its own connection and
 * by blocking calls, while one waits for all that time in recv() and two are client and server of each other. Then calls that
 * wait lose their sockets to close() in another thread. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 30, MAX_THREADS = 16 };

static struct addrinfo *server;

static void *fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static void *echo(void *number) {
  char sent[4096], got[4096];
  int fd = socket(server->ai_family, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, server->ai_addr, server->ai_addrlen) < 0) fail("connect");
  for (int round = 0; round < ROUNDS; round++) {
    memset(sent, (int)(size_t)number + round, sizeof sent);
    if (write(fd, sent, sizeof sent) != sizeof sent) fail("write");
    if (recv(fd, got, sizeof got, MSG_WAITALL) != sizeof got || memcmp(sent, got, sizeof got)) fail("recv");
  }
  return close(fd) ? fail("close") : NULL;
}

static void *wait_for_word(void *end) {
  char word[8] = {0};
  if (recv(*(int *)end, word, sizeof word, 0) != 4) fail("recv of a pair");
  printf("the one that waited: %s\n", word);
  return NULL;
}

static void *serve(void *listener) {
  char octet;
  int fd = accept(*(int *)listener, NULL, NULL);
  if (fd < 0 || read(fd, &octet, 1) != 1 || write(fd, &octet, 1) != 1) fail("serve");
  close(fd);
  return NULL;
}

static void talk_to(int listener) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  char octet = 'x';
  getsockname(listener, (struct sockaddr *)&address, &length);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, length) || write(fd, &octet, 1) != 1) fail("talk");
  if (read(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 0) fail("answer");
  close(fd);
}

static void *wait_in_recv(void *fd) {
  char octet;
  long got = recv(*(int *)fd, &octet, 1, 0);
  return (void *)(size_t)(got < 0 ? errno : 0);
}

static void *wait_in_accept(void *fd) {
  return (void *)(size_t)(accept(*(int *)fd, NULL, NULL) < 0 ? errno : 0);
}

/* How a call ends that waits for `fd` while that is closed. */
static void close_under(const char *what, void *(*wait)(void *), int fd) {
  pthread_t waiting;
  void *error;
  pthread_create(&waiting, NULL, wait, &fd);
  usleep(100000);
  if (close(fd)) fail("close");
  pthread_join(waiting, &error);
  printf("%s: %s\n", what, (size_t)error == EBADF ? "EBADF" : strerror((int)(size_t)error));
}

static void close_what_is_waited_for(int listener) {
  int fd = socket(server->ai_family, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET};
  if (connect(fd, server->ai_addr, server->ai_addrlen)) fail("connect");
  if (bind(datagrams, (struct sockaddr *)&any, sizeof any)) fail("bind");
  close_under("recv", wait_in_recv, fd);
  close_under("recv of datagrams", wait_in_recv, datagrams);
  close_under("accept", wait_in_accept, listener);
}

static void run(int count) {
  pthread_t threads[MAX_THREADS], waiting, serving;
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int pair[2], listener = socket(AF_INET, SOCK_STREAM, 0);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) fail("socketpair");
  if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 1)) fail("listen");
  pthread_create(&waiting, NULL, wait_for_word, &pair[0]);
  pthread_create(&serving, NULL, serve, &listener);
  for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, echo, (void *)(size_t)i);
  talk_to(listener);
  pthread_join(serving, NULL);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  printf("%d threads\n", count);
  if (write(pair[1], "word", 4) != 4) fail("write to a pair");
  pthread_join(waiting, NULL);
  close_what_is_waited_for(listener);
}

int main(int argc, char **argv) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  int count = argc == 4 ? atoi(argv[3]) : 0;
  if (count < 1 || count > MAX_THREADS) return 2;
  if (getaddrinfo(argv[1], argv[2], &hints, &server)) return puts("no such name"), 1;
  run(count);
  return 0;
}
