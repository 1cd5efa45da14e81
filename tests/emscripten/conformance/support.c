#include "conformance.h"

const char *error_name(int error) {
  static const struct {
    int number;
    const char *name;
  } names[] = {
      {0, "0"}, {EACCES, "EACCES"}, {EADDRINUSE, "EADDRINUSE"}, {EADDRNOTAVAIL, "EADDRNOTAVAIL"},
      {EAFNOSUPPORT, "EAFNOSUPPORT"}, {EAGAIN, "EAGAIN"}, {EALREADY, "EALREADY"}, {EBADF, "EBADF"},
      {ECONNABORTED, "ECONNABORTED"}, {ECONNREFUSED, "ECONNREFUSED"}, {ECONNRESET, "ECONNRESET"},
      {EDESTADDRREQ, "EDESTADDRREQ"}, {EDOM, "EDOM"}, {EEXIST, "EEXIST"}, {EINPROGRESS, "EINPROGRESS"}, {EINVAL, "EINVAL"},
      {EISCONN, "EISCONN"}, {ELOOP, "ELOOP"}, {EMFILE, "EMFILE"}, {EMSGSIZE, "EMSGSIZE"}, {ENOENT, "ENOENT"},
      {ENOPROTOOPT, "ENOPROTOOPT"},
      {ENOTCONN, "ENOTCONN"}, {ENOTSOCK, "ENOTSOCK"}, {ENOTTY, "ENOTTY"}, {EOPNOTSUPP, "EOPNOTSUPP"}, {EPERM, "EPERM"},
      {EPIPE, "EPIPE"},
      {EPROTONOSUPPORT, "EPROTONOSUPPORT"}, {ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"}, {ETIMEDOUT, "ETIMEDOUT"},
      {ENETUNREACH, "ENETUNREACH"},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].number == error) return names[i].name;
  return strerror(error);
}

const char *outcome(long result) {
  static char texts[8][32];
  static int next;
  if (result < 0) return error_name(errno);
  char *text = texts[next++ % 8];
  snprintf(text, sizeof texts[0], "%ld", result);
  return text;
}

struct sockaddr_in loopback(int port) {
  struct in_addr address = {htonl(INADDR_LOOPBACK)};
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
}

int port_of(int fd) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return -1;
  return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                             : ((struct sockaddr_in *)&address)->sin_port);
}

int tcp_listener(int backlog) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in local = loopback(0);
  if (bind(fd, (struct sockaddr *)&local, sizeof local) < 0) printf("bind: %s\n", error_name(errno));
  if (listen(fd, backlog) < 0) printf("listen: %s\n", error_name(errno));
  return fd;
}

void tcp_pair(int *client, int *server) {
  int listener = tcp_listener(4);
  struct sockaddr_in remote = loopback(port_of(listener));
  *client = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(*client, (struct sockaddr *)&remote, sizeof remote) < 0) printf("connect: %s\n", error_name(errno));
  *server = accept(listener, NULL, NULL);
  if (*server < 0) printf("accept: %s\n", error_name(errno));
  close(listener);
}

int udp_socket(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in local = loopback(0);
  if (bind(fd, (struct sockaddr *)&local, sizeof local) < 0) printf("bind: %s\n", error_name(errno));
  return fd;
}

int set_flag(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

int get_number(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) < 0 ? -1 : value;
}

long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

/* Long enough for what was sent on loopback to have arrived. */
void settle(void) { poll(NULL, 0, 60); }

short await_events(int fd, short wanted, short events) {
  struct pollfd entry = {.fd = fd, .events = wanted};
  long start = now_ms();
  do {
    poll(&entry, 1, 100);
    if (entry.revents & events) break;
    poll(NULL, 0, 5);
  } while (now_ms() - start < 3000);
  return entry.revents;
}
