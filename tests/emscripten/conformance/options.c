/* getsockopt() and setsockopt(). */
#include "conformance.h"

static void flag(int fd, const char *name, int level, int number) {
  int before = get_number(fd, level, number);
  const char *set = outcome(set_flag(fd, level, number, 1));
  printf("%s: %d %s %d\n", name, before, set, get_number(fd, level, number));
}

static void value(int fd, const char *name, int level, int number, int wanted) {
  const char *set = outcome(set_flag(fd, level, number, wanted));
  printf("%s: %s %d\n", name, set, get_number(fd, level, number));
}

void options(void) {
  int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
  int six = socket(AF_INET6, SOCK_STREAM, 0);
  flag(tcp, "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR);
  flag(tcp, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE);
  flag(udp, "SO_BROADCAST", SOL_SOCKET, SO_BROADCAST);
  flag(tcp, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY);
  flag(six, "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY);
  value(tcp, "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 30);
  value(tcp, "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 5);
  value(tcp, "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 3);
  for (int wanted = 1; wanted < 3; wanted++)
    value(tcp, "TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, wanted);
  value(tcp, "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 50000);
  value(tcp, "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 50000);
  int limits[] = {33, 255, -1, 0, 256};
  for (int i = 0; i < 5; i++) value(tcp, "IP_TTL", IPPROTO_IP, IP_TTL, limits[i]);
  for (int i = 0; i < 5; i++)
    if (limits[i] != 0) value(six, "IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, limits[i]);
  printf("SO_TYPE: %d %d\n", get_number(tcp, SOL_SOCKET, SO_TYPE), get_number(udp, SOL_SOCKET, SO_TYPE));
  printf("SO_DOMAIN: %d\n", get_number(six, SOL_SOCKET, SO_DOMAIN) == AF_INET6);
  printf("SO_PROTOCOL: %d %d\n", get_number(tcp, SOL_SOCKET, SO_PROTOCOL), get_number(udp, SOL_SOCKET, SO_PROTOCOL));
  printf("SO_ERROR: %d\n", get_number(tcp, SOL_SOCKET, SO_ERROR));
  printf("SO_ACCEPTCONN: %d\n", get_number(tcp, SOL_SOCKET, SO_ACCEPTCONN));
  struct linger linger = {1, 7};
  socklen_t length = sizeof linger;
  printf("SO_LINGER: %s\n", outcome(setsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, sizeof linger)));
  getsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, &length);
  printf("linger: %d %d %d\n", linger.l_onoff, linger.l_linger, (int)length);
  struct timeval limit = {3, 500000};
  length = sizeof limit;
  printf("SO_SNDTIMEO: %s\n", outcome(setsockopt(tcp, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit)));
  memset(&limit, 0, sizeof limit);
  getsockopt(tcp, SOL_SOCKET, SO_SNDTIMEO, &limit, &length);
  printf("limit: %d %d %d\n", (int)limit.tv_sec, (int)limit.tv_usec, length == sizeof limit);
  printf("unknown: %s\n", outcome(set_flag(tcp, SOL_SOCKET, 7777, 1)));
  printf("TCP's of UDP: %s\n", outcome(set_flag(udp, IPPROTO_TCP, TCP_NODELAY, 1)));
  printf("short: %s\n", outcome(setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &limit, 1)));
  close(tcp);
  close(udp);
  close(six);
}
