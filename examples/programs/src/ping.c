/* `ping HOST TTL` asks a host, over each family that it has, by an ICMP echo request, by a UDP datagram to its port 7, and
 * by a TCP connection to that port, each sent with that TTL, and prints what came of it. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { HEADER = 8, LONG = 2000 };

static const char *reason(void) {
  if (errno == EHOSTUNREACH) return "EHOSTUNREACH";
  return errno == EAGAIN ? "no answer" : strerror(errno);
}

static int open_socket(const struct addrinfo *host, int type, int protocol, int ttl) {
  int fd = socket(host->ai_family, type, protocol), six = host->ai_family == AF_INET6;
  struct timeval limit = {.tv_sec = 10};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof ttl) < 0)
    printf("setsockopt: %s\n", strerror(errno));
  return fd;
}

/* The octets of the answer, or -1. */
static ssize_t ask(int fd, const struct addrinfo *host, const unsigned char *question, size_t size, unsigned char *answer) {
  if (connect(fd, host->ai_addr, host->ai_addrlen) < 0 || send(fd, question, size, 0) < 0) return -1;
  return recv(fd, answer, LONG, 0);
}

static void tell(const char *what, int same, ssize_t size) {
  if (size < 0) printf("%s: %s\n", what, reason());
  else printf("%s: %zd octets%s\n", what, size, same ? "" : ", others");
}

static void echo(const struct addrinfo *host, int ttl) {
  int six = host->ai_family == AF_INET6, fd = open_socket(host, SOCK_DGRAM, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, ttl);
  unsigned char question[LONG] = {six ? 128 : 8}, answer[LONG];
  for (int at = HEADER; at < LONG; at++) question[at] = at;
  ssize_t size = ask(fd, host, question, LONG, answer);
  tell("echo", size == LONG && answer[0] == (six ? 129 : 0) && !memcmp(question + HEADER, answer + HEADER, LONG - HEADER), size);
  close(fd);
}

static void datagram(const struct addrinfo *host, int ttl) {
  unsigned char answer[LONG];
  int fd = open_socket(host, SOCK_DGRAM, 0, ttl);
  ssize_t size = ask(fd, host, (const unsigned char *)"datagram", 8, answer);
  tell("UDP", size == 8 && !memcmp(answer, "datagram", 8), size);
  close(fd);
}

static void stream(const struct addrinfo *host, int ttl) {
  unsigned char answer[LONG];
  int fd = open_socket(host, SOCK_STREAM, 0, ttl);
  ssize_t size = ask(fd, host, (const unsigned char *)"stream", 6, answer);
  tell("TCP", size == 6 && !memcmp(answer, "stream", 6), size);
  close(fd);
}

int main(int count, char **args) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *hosts;
  if (count != 3) return 2;
  int failed = getaddrinfo(args[1], "7", &hints, &hosts);
  if (failed) {
    puts(gai_strerror(failed));
    return 1;
  }
  for (const struct addrinfo *host = hosts; host; host = host->ai_next) {
    puts(host->ai_family == AF_INET6 ? "IPv6" : "IPv4");
    echo(host, atoi(args[2]));
    datagram(host, atoi(args[2]));
    stream(host, atoi(args[2]));
  }
  return 0;
}
