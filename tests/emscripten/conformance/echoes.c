/* ICMP echo requests by sockets for datagrams. */
#include "conformance.h"

enum { HEADER = 8, V4 = 8, V6 = 128 };

/* Identifier and checksum are left to the system. */
static size_t request(unsigned char *message, int type, int sequence, const char *payload) {
  memset(message, 0, HEADER);
  message[0] = type;
  message[7] = sequence;
  strcpy((char *)message + HEADER, payload);
  return HEADER + strlen(payload);
}

static void kinds(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  printf("SO_TYPE: %d\n", get_number(fd, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
  printf("SO_PROTOCOL: %d\n", get_number(fd, SOL_SOCKET, SO_PROTOCOL));
  close(fd);
  printf("IPv4's at IPv6: %s\n", outcome(socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMP)));
  printf("IPv6's at IPv4: %s\n", outcome(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6)));
  printf("of streams: %s\n", outcome(socket(AF_INET, SOCK_STREAM, IPPROTO_ICMP)));
}

static void refused(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  struct sockaddr_in to = loopback(0);
  unsigned char message[64];
  size_t size = request(message, V4, 1, "");
  printf("short: %s\n", outcome(sendto(fd, message, HEADER - 1, 0, (struct sockaddr *)&to, sizeof to)));
  printf("nowhere: %s\n", outcome(send(fd, message, size, 0)));
  message[0] = 0;
  printf("a reply: %s\n", outcome(sendto(fd, message, size, 0, (struct sockaddr *)&to, sizeof to)));
  message[0] = V4;
  message[1] = 1;
  printf("a code: %s\n", outcome(sendto(fd, message, size, 0, (struct sockaddr *)&to, sizeof to)));
  static char large[70000];
  large[0] = V4;
  printf("65516: %s\n", outcome(sendto(fd, large, 65516, 0, (struct sockaddr *)&to, sizeof to)));
  close(fd);
}

static void reply_v4(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), other = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  struct sockaddr_in to = loopback(0), from = {0};
  socklen_t length = sizeof from;
  unsigned char message[64], reply[64] = {0};
  size_t size = request(message, V4, 7, "payload");
  printf("bind: %s\n", outcome(bind(other, (struct sockaddr *)&to, sizeof to)));
  printf("an identifier: %d\n", port_of(other) > 0);
  to.sin_port = htons(port_of(other));
  /* The port means nothing here. */
  printf("sendto: %s\n", outcome(sendto(fd, message, size, 0, (struct sockaddr *)&to, sizeof to)));
  await_events(fd, POLLIN, POLLIN);
  printf("recvfrom: %s", outcome(recvfrom(fd, reply, sizeof reply, 0, (struct sockaddr *)&from, &length)));
  printf(" %d %d %s %s:%d %d\n", reply[0], reply[7], reply + HEADER, inet_ntoa(from.sin_addr), from.sin_port, (int)length);
  printf("its identifier: %d\n", (reply[4] << 8 | reply[5]) == port_of(fd));
  printf("nobody else: %s\n", outcome(recv(other, reply, sizeof reply, MSG_DONTWAIT)));
  printf("connect: %s\n", outcome(connect(fd, (struct sockaddr *)&to, sizeof to)));
  printf("send: %s\n", outcome(send(fd, message, size, 0)));
  printf("truncated: %s\n", outcome(recv(fd, reply, 4, MSG_TRUNC)));
  printf("the rest is gone: %s\n", outcome(recv(fd, reply, sizeof reply, MSG_DONTWAIT)));
  close(fd);
  close(other);
}

static void reply_v6(void) {
  int fd = socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback}, from = {0};
  socklen_t length = sizeof from;
  unsigned char message[64], reply[64] = {0};
  char text[64];
  size_t size = request(message, V6, 9, "six");
  printf("IPv6 sendto: %s\n", outcome(sendto(fd, message, size, 0, (struct sockaddr *)&to, sizeof to)));
  printf("recvfrom: %s", outcome(recvfrom(fd, reply, sizeof reply, 0, (struct sockaddr *)&from, &length)));
  inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text);
  printf(" %d %d %s %s %d\n", reply[0], reply[7], reply + HEADER, text, from.sin6_port);
  printf("its identifier: %d\n", (reply[4] << 8 | reply[5]) == port_of(fd));
  message[0] = V4;
  printf("IPv4's request: %s\n", outcome(sendto(fd, message, size, 0, (struct sockaddr *)&to, sizeof to)));
  close(fd);
}

void echoes(void) {
  kinds();
  refused();
  reply_v4();
  reply_v6();
}
