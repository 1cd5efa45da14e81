/* Copies of descriptors, the order of closing, and socket pairs. */
#include "conformance.h"

static void copies(void) {
  int client, server;
  char data[8];
  tcp_pair(&client, &server);
  int copy = dup(client), third = fcntl(client, F_DUPFD, 100);
  printf("F_DUPFD: %d\n", third >= 100);
  close(client);
  printf("through the copy: %s", outcome(write(copy, "x", 1)));
  printf(" %s\n", outcome(read(server, data, 8)));
  printf("the closed one: %s\n", outcome(write(client, "x", 1)));
  fcntl(copy, F_SETFL, O_NONBLOCK);
  printf("modes are shared: %d\n", !!(fcntl(third, F_GETFL) & O_NONBLOCK));
  printf("dup2: %d\n", dup2(copy, 150));
  close(copy);
  close(third);
  printf("not yet the end: %s\n", outcome(recv(server, data, 8, MSG_DONTWAIT)));
  printf("last copy: %s\n", outcome(write(150, "y", 1)));
  close(150);
  printf("then the end: %s", outcome(read(server, data, 8)));
  printf(" %s\n", outcome(read(server, data, 8)));
  printf("close twice: %s\n", outcome(close(150)));
  printf("dup of nothing: %s\n", outcome(dup(150)));
  FILE *stream = fdopen(dup(server), "r");
  printf("fdopen: %d\n", stream != NULL);
  fclose(stream);
  close(server);
}

static void third_form(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  printf("dup3: %d\n", dup3(fd, 160, O_CLOEXEC));
  printf("to itself: %s\n", outcome(dup3(fd, fd, 0)));
  printf("with a flag that is none: %s\n", outcome(dup3(fd, 161, O_APPEND)));
  close(160);
  close(fd);
}

static void numbers(void) {
  int first = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_DGRAM, 0);
  close(first);
  int again = socket(AF_INET, SOCK_STREAM, 0);
  printf("the lowest number: %d %d\n", second > first, again == first);
  close(again);
  close(second);
}

static void pairs(void) {
  int ends[2];
  char data[8] = {0};
  printf("socketpair: %s\n", outcome(socketpair(AF_UNIX, SOCK_STREAM, 0, ends)));
  write(ends[0], "ab", 2);
  write(ends[0], "cd", 2);
  printf("stream: %s", outcome(read(ends[1], data, 8)));
  printf(" %s\n", data);
  printf("empty: %s\n", outcome(recv(ends[1], data, 8, MSG_DONTWAIT)));
  struct pollfd entry = {.fd = ends[1], .events = POLLIN};
  printf("poll: %d", poll(&entry, 1, 0));
  write(ends[0], "e", 1);
  printf(" %d\n", poll(&entry, 1, 0));
  close(ends[0]);
  printf("end: %s", outcome(read(ends[1], data, 8)));
  printf(" %s", outcome(read(ends[1], data, 8)));
  printf(" %s\n", outcome(send(ends[1], "x", 1, MSG_NOSIGNAL)));
  close(ends[1]);
  socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
  write(ends[1], "one", 3);
  write(ends[1], "three", 5);
  printf("messages: %s", outcome(read(ends[0], data, 2)));
  printf(" %s\n", outcome(read(ends[0], data, 8)));
  close(ends[0]);
  close(ends[1]);
  printf("of AF_INET: %s\n", outcome(socketpair(AF_INET, SOCK_STREAM, 0, ends)));
}

void descriptors(void) {
  copies();
  third_form();
  numbers();
  pairs();
}
