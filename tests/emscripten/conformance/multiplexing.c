/* epoll: level and edge, once and anew, what closes, nests and turns. */
#include <sys/epoll.h>

#include "conformance.h"

enum { PATIENCE = 3000 };

static int watch(int epfd, int operation, int fd, unsigned events, unsigned long long data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  return epoll_ctl(epfd, operation, fd, &event);
}

/* "nothing", or which events came for which datum; `milliseconds` is how long it may take. */
static const char *next(int epfd, int milliseconds) {
  static char texts[4][80];
  static int turn;
  static const struct {
    unsigned bit;
    const char *name;
  } names[] = {{EPOLLIN, "IN"}, {EPOLLOUT, "OUT"}, {EPOLLRDHUP, "RDHUP"}, {EPOLLHUP, "HUP"}, {EPOLLERR, "ERR"}};
  struct epoll_event event;
  int count = epoll_wait(epfd, &event, 1, milliseconds);
  if (count < 0) return outcome(count);
  if (count == 0) return "nothing";
  char *text = texts[turn++ % 4];
  int at = snprintf(text, sizeof texts[0], "%llx", (unsigned long long)event.data.u64);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (event.events & names[i].bit) at += snprintf(text + at, sizeof texts[0] - at, " %s", names[i].name);
  return text;
}

static void drain(int fd) {
  char data[4096];
  while (recv(fd, data, sizeof data, MSG_DONTWAIT) > 0) {}
}

static void errors(void) {
  printf("epoll_create1(-1): %s\n", outcome(epoll_create1(-1)));
  printf("epoll_create(0): %s\n", outcome(epoll_create(0)));
  int epfd = epoll_create1(EPOLL_CLOEXEC), fd = udp_socket(), other = udp_socket();
  char name[] = "/tmp/conformanceXXXXXX", data[8];
  int file = mkstemp(name);
  unlink(name);
  printf("add: %s", outcome(watch(epfd, EPOLL_CTL_ADD, fd, EPOLLIN, 1)));
  printf(" %s\n", outcome(watch(epfd, EPOLL_CTL_ADD, fd, EPOLLIN, 2)));
  printf("a closed one: %s\n", outcome(watch(epfd, EPOLL_CTL_ADD, 888, EPOLLIN, 0)));
  printf("itself: %s\n", outcome(watch(epfd, EPOLL_CTL_ADD, epfd, EPOLLIN, 0)));
  printf("a file: %s\n", outcome(watch(epfd, EPOLL_CTL_ADD, file, EPOLLIN, 0)));
  printf("not there: %s", outcome(watch(epfd, EPOLL_CTL_MOD, other, EPOLLIN, 0)));
  printf(" %s\n", outcome(watch(epfd, EPOLL_CTL_DEL, other, 0, 0)));
  printf("no such operation: %s\n", outcome(watch(epfd, 9, fd, EPOLLIN, 0)));
  printf("at a socket: %s", outcome(watch(fd, EPOLL_CTL_ADD, other, EPOLLIN, 0)));
  printf(" %s\n", next(fd, 0));
  printf("at a closed one: %s %s\n", outcome(watch(888, EPOLL_CTL_ADD, fd, EPOLLIN, 0)), next(888, 0));
  printf("room for none: %s\n", outcome(epoll_wait(epfd, (struct epoll_event[1]){}, 0, 0)));
  printf("read: %s\n", outcome(read(epfd, data, sizeof data)));
  printf("recv: %s\n", outcome(recv(epfd, data, sizeof data, 0)));
  printf("deleted: %s", outcome(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL)));
  printf(" %s\n", outcome(watch(epfd, EPOLL_CTL_DEL, fd, 0, 0)));
  long start = now_ms();
  printf("30 ms: %s", next(epfd, 30));
  long passed = now_ms() - start;
  printf(" %d\n", passed >= 29 && passed < 200);
  close(file);
  close(fd);
  close(other);
  close(epfd);
}

static void by_level(void) {
  int client, server, epfd = epoll_create1(0);
  tcp_pair(&client, &server);
  watch(epfd, EPOLL_CTL_ADD, server, EPOLLIN | EPOLLRDHUP, 0x123456789abcULL);
  printf("level: %s", next(epfd, 0));
  write(client, "x", 1);
  printf(", %s", next(epfd, PATIENCE));
  printf(", %s", next(epfd, 0));
  drain(server);
  printf(", %s", next(epfd, 0));
  watch(epfd, EPOLL_CTL_MOD, server, EPOLLOUT, 2);
  printf(", %s\n", next(epfd, 0));
  watch(epfd, EPOLL_CTL_MOD, server, EPOLLIN | EPOLLRDHUP, 3);
  shutdown(client, SHUT_WR);
  printf("half-closed: %s", next(epfd, PATIENCE));
  shutdown(server, SHUT_WR);
  settle();
  printf(", closed: %s\n", next(epfd, 0));
  close(client);
  close(server);
  close(epfd);
}

/* Room is told of again, once there was none. */
static void room(int epfd, int server, int client) {
  static char much[1 << 16];
  fcntl(server, F_SETFL, O_NONBLOCK);
  for (int more = 1; more; settle())
    for (more = 0; write(server, much, sizeof much) > 0;) more = 1;
  printf("full: %s", outcome(write(server, much, sizeof much)));
  long start = now_ms();
  const char *told;
  do {
    drain(client);
    told = next(epfd, 10);
  } while (strcmp(told, "nothing") == 0 && now_ms() - start < PATIENCE);
  printf(", %s\n", told);
}

static void by_edge(void) {
  int client, server, epfd = epoll_create1(0);
  tcp_pair(&client, &server);
  watch(epfd, EPOLL_CTL_ADD, server, EPOLLIN | EPOLLOUT | EPOLLET, 7);
  printf("edge: %s", next(epfd, 0));
  printf(", %s", next(epfd, 0));
  for (int i = 0; i < 2; i++) {
    write(client, "x", 1);
    printf(", %s", next(epfd, PATIENCE));
    printf(", %s", next(epfd, 0));
  }
  drain(server);
  printf(", %s", next(epfd, 0));
  write(client, "x", 1);
  printf(", %s", next(epfd, PATIENCE));
  watch(epfd, EPOLL_CTL_MOD, server, EPOLLIN | EPOLLET, 8);
  printf(", %s\n", next(epfd, 0));
  drain(server);
  watch(epfd, EPOLL_CTL_MOD, server, EPOLLOUT | EPOLLET, 9);
  next(epfd, 0);
  room(epfd, server, client);
  close(client);
  close(server);
  close(epfd);
}

static void once(void) {
  int client, server, epfd = epoll_create1(0);
  tcp_pair(&client, &server);
  watch(epfd, EPOLL_CTL_ADD, server, EPOLLIN | EPOLLONESHOT, 1);
  write(client, "x", 1);
  printf("once: %s", next(epfd, PATIENCE));
  printf(", %s", next(epfd, 0));
  watch(epfd, EPOLL_CTL_MOD, server, EPOLLIN | EPOLLONESHOT, 2);
  printf(", %s\n", next(epfd, 0));
  watch(epfd, EPOLL_CTL_MOD, server, EPOLLIN, 3);
  int copy = dup(server);
  close(server);
  printf("a copy is left: %s", next(epfd, 0));
  close(copy);
  printf(", and closed: %s\n", next(epfd, 0));
  close(client);
  close(epfd);
}

static void connections(void) {
  int listener = tcp_listener(4), epfd = epoll_create1(0), refused = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in remote = loopback(port_of(listener));
  watch(epfd, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLET, 1);
  printf("a listener: %s", next(epfd, 0));
  for (int i = 0; i < 2; i++) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (struct sockaddr *)&remote, sizeof remote);
    printf(", %s", next(epfd, PATIENCE));
    int server = accept(listener, NULL, NULL);
    printf(", %s", next(epfd, 0));
    close(client);
    close(server);
  }
  close(listener);
  settle();
  connect(refused, (struct sockaddr *)&remote, sizeof remote);
  watch(epfd, EPOLL_CTL_ADD, refused, EPOLLOUT, 2);
  printf("\nrefused: %s\n", next(epfd, PATIENCE));
  close(refused);
  close(epfd);
}

static void datagrams_and_pairs(void) {
  int epfd = epoll_create1(0), fd = udp_socket(), pair[2];
  struct sockaddr_in to = loopback(port_of(fd));
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  watch(epfd, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 1);
  watch(epfd, EPOLL_CTL_ADD, pair[0], EPOLLIN | EPOLLET, 2);
  for (int i = 0; i < 2; i++) {
    sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to);
    printf("datagram: %s", next(epfd, PATIENCE));
    printf(", %s; ", next(epfd, 0));
    write(pair[1], "x", 1);
    printf("pair: %s", next(epfd, PATIENCE));
    printf(", %s\n", next(epfd, 0));
  }
  close(pair[1]);
  printf("the other end is closed: %s\n", next(epfd, PATIENCE));
  close(pair[0]);
  close(fd);
  close(epfd);
}

/* Who was told of comes last the next time. */
static void turns(void) {
  enum { COUNT = 3 };
  int epfd = epoll_create1(0), clients[COUNT], servers[COUNT], seen[COUNT] = {0};
  for (int i = 0; i < COUNT; i++) {
    tcp_pair(&clients[i], &servers[i]);
    watch(epfd, EPOLL_CTL_ADD, servers[i], EPOLLIN, i);
    write(clients[i], "x", 1);
    await_events(servers[i], POLLIN, POLLIN);
  }
  struct epoll_event events[2];
  printf("turns:");
  for (int round = 0; round < 3; round++) {
    int count = epoll_pwait(epfd, events, 2, PATIENCE, NULL);
    printf(" %d", count);
    for (int i = 0; i < count; i++) seen[events[i].data.u64]++;
  }
  printf(", each %d %d %d\n", seen[0], seen[1], seen[2]);
  for (int i = 0; i < COUNT; i++) {
    close(clients[i]);
    close(servers[i]);
  }
  close(epfd);
}

static void nested(void) {
  int client, server, inner = epoll_create1(0), outer = epoll_create1(0);
  tcp_pair(&client, &server);
  watch(inner, EPOLL_CTL_ADD, server, EPOLLIN, 1);
  printf("nested: %s", outcome(watch(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2)));
  printf(" %s", next(outer, 0));
  printf(" %s\n", outcome(watch(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 3)));
  write(client, "x", 1);
  printf("the outer one: %s", next(outer, PATIENCE));
  struct pollfd entry = {.fd = inner, .events = POLLIN};
  printf(", poll: %d", poll(&entry, 1, 0));
  printf(" %d", entry.revents == POLLIN);
  drain(server);
  printf(", and then: %s\n", next(outer, 0));
  close(client);
  close(server);
  close(inner);
  close(outer);
}

void multiplexing(void) {
  errors();
  by_level();
  by_edge();
  once();
  connections();
  datagrams_and_pairs();
  turns();
  nested();
}
