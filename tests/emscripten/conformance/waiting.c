/* poll(), select() and the time limits of sockets. */
#include "conformance.h"

/* Whether a wait took what was asked for: never less, and at most 150 ms more on a busy machine. */
static const char *took(long since, long wanted) {
  long passed = now_ms() - since;
  return passed < wanted - 1 ? "too short" : passed > wanted + 150 ? "too long" : "in time";
}

static void times(void) {
  int client, server;
  char data[4];
  tcp_pair(&client, &server);
  struct pollfd entry = {.fd = server, .events = POLLIN};
  for (int wanted = 0; wanted <= 50; wanted += 10) {
    long start = now_ms();
    int ready = poll(&entry, 1, wanted);
    printf("poll %d: %d %s\n", wanted, ready, took(start, wanted));
  }
  fd_set set;
  FD_ZERO(&set);
  FD_SET(server, &set);
  long start = now_ms();
  int ready = select(server + 1, &set, NULL, NULL, &(struct timeval){0, 30000});
  printf("select: %d %d %s\n", ready, FD_ISSET(server, &set), took(start, 30));
  struct timeval limit = {0, 40000};
  setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  start = now_ms();
  printf("SO_RCVTIMEO: %s", outcome(read(server, data, 4)));
  printf(" %s\n", took(start, 40));
  /* Nobody reads: there is room for some, then for none. */
  static char much[1 << 16];
  setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  while (send(client, much, sizeof much, MSG_NOSIGNAL) > 0) start = now_ms();
  printf("SO_SNDTIMEO: %s %s\n", outcome(-1), took(start, 40));
  close(client);
  close(server);
}

/* The variants with nanoseconds and a mask of signals. */
static void finer_times(void) {
  int client, server;
  tcp_pair(&client, &server);
  struct pollfd entry = {.fd = server, .events = POLLIN};
  struct timespec limit = {0, 30000000}, none = {0, 0}, negative = {0, -1};
  sigset_t mask;
  sigemptyset(&mask);
  long start = now_ms();
  int ready = ppoll(&entry, 1, &limit, &mask);
  printf("ppoll: %d %s\n", ready, took(start, 30));
  printf("ppoll of a negative time: %s\n", outcome(ppoll(&entry, 1, &negative, NULL)));
  fd_set reads, writes;
  FD_ZERO(&reads);
  FD_ZERO(&writes);
  FD_SET(server, &reads);
  start = now_ms();
  ready = pselect(server + 1, &reads, NULL, NULL, &limit, &mask);
  printf("pselect: %d %d %s\n", ready, FD_ISSET(server, &reads), took(start, 30));
  printf("pselect of a negative time: %s\n", outcome(pselect(server + 1, NULL, NULL, NULL, &negative, NULL)));
  write(client, "x", 1);
  printf("ppoll without end: %d", ppoll(&entry, 1, NULL, NULL));
  printf(" %d\n", entry.revents == POLLIN);
  FD_SET(server, &reads);
  FD_SET(client, &writes);
  int highest = client > server ? client : server;
  ready = pselect(highest + 1, &reads, &writes, NULL, &none, NULL);
  printf("pselect of two: %d %d %d\n", ready, !!FD_ISSET(server, &reads), !!FD_ISSET(client, &writes));
  close(client);
  close(server);
}

static void events(void) {
  int client, server;
  tcp_pair(&client, &server);
  short all = POLLIN | POLLOUT | POLLRDHUP;
  struct pollfd entries[] = {{server, all, 0}, {-5, POLLIN, 0}, {888, POLLIN, 0}};
  printf("poll of three: %d", poll(entries, 3, 0));
  printf(" %d %d %d\n", entries[0].revents == POLLOUT, entries[1].revents, entries[2].revents == POLLNVAL);
  write(client, "x", 1);
  printf("data: %d\n", await_events(server, all, POLLIN) == (POLLIN | POLLOUT));
  shutdown(client, SHUT_WR);
  printf("half-closed: %d\n", await_events(server, all, POLLRDHUP) == all);
  shutdown(server, SHUT_WR);
  printf("closed: %d\n", !!(await_events(server, all, POLLHUP) & POLLHUP));
  close(client);
  close(server);
  int fresh = socket(AF_INET, SOCK_STREAM, 0);
  struct pollfd entry = {.fd = fresh, .events = POLLIN | POLLOUT};
  poll(&entry, 1, 0);
  printf("fresh: %d\n", entry.revents == (POLLOUT | POLLHUP));
  close(fresh);
}

static void many(void) {
  enum { COUNT = 70 };
  int clients[COUNT], servers[COUNT], highest = 0;
  for (int i = 0; i < COUNT; i++) {
    tcp_pair(&clients[i], &servers[i]);
    if (servers[i] > highest) highest = servers[i];
  }
  write(clients[3], "a", 1);
  write(clients[COUNT - 1], "b", 1);
  await_events(servers[3], POLLIN, POLLIN);
  await_events(servers[COUNT - 1], POLLIN, POLLIN);
  fd_set reads, writes;
  FD_ZERO(&reads);
  FD_ZERO(&writes);
  for (int i = 0; i < COUNT; i++) FD_SET(servers[i], &reads);
  FD_SET(clients[0], &writes);
  int ready = select(highest + 1, &reads, &writes, NULL, &(struct timeval){1, 0});
  printf("select of 70: %d %d %d %d %d\n", ready, highest > 64, !!FD_ISSET(servers[3], &reads),
         !!FD_ISSET(servers[COUNT - 1], &reads), !!FD_ISSET(servers[5], &reads));
  for (int i = 0; i < COUNT; i++) {
    close(clients[i]);
    close(servers[i]);
  }
  fd_set bad;
  FD_ZERO(&bad);
  FD_SET(highest, &bad);
  printf("select of a closed one: %s\n", outcome(select(highest + 1, &bad, NULL, NULL, &(struct timeval){0, 0})));
}

static void modes(void) {
  int client, server, on = 1, off = 0;
  char data[4];
  tcp_pair(&client, &server);
  printf("blocking: %d\n", fcntl(server, F_GETFL) & O_NONBLOCK);
  fcntl(server, F_SETFL, fcntl(server, F_GETFL) | O_NONBLOCK);
  printf("O_NONBLOCK: %d %s\n", !!(fcntl(server, F_GETFL) & O_NONBLOCK), outcome(read(server, data, 4)));
  fcntl(server, F_SETFL, fcntl(server, F_GETFL) & ~O_NONBLOCK);
  write(client, "x", 1);
  printf("and back: %d %s\n", !!(fcntl(server, F_GETFL) & O_NONBLOCK), outcome(read(server, data, 4)));
  ioctl(server, FIONBIO, &on);
  printf("FIONBIO: %s\n", outcome(read(server, data, 4)));
  ioctl(server, FIONBIO, &off);
  write(client, "x", 1);
  printf("and back: %s\n", outcome(read(server, data, 4)));
  close(client);
  close(server);
}

void waiting(void) {
  times();
  finer_times();
  events();
  many();
  modes();
}
