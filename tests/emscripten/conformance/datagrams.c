/* UDP. */
#include "conformance.h"

static void exchange(void) {
  int a = udp_socket(), b = udp_socket(), waiting = -1;
  struct sockaddr_in to = loopback(port_of(b)), from = {0};
  socklen_t length = sizeof from;
  char data[16] = {0};
  printf("sendto: %s\n", outcome(sendto(a, "datagram", 8, 0, (struct sockaddr *)&to, sizeof to)));
  printf("recvfrom: %s", outcome(recvfrom(b, data, sizeof data, 0, (struct sockaddr *)&from, &length)));
  printf(" %s %d %d\n", data, ntohs(from.sin_port) == port_of(a), (int)length);
  printf("answer: %s\n", outcome(sendto(b, "", 0, 0, (struct sockaddr *)&from, sizeof from)));
  printf("empty: %s\n", outcome(recv(a, data, sizeof data, 0)));
  sendto(a, "0123456789", 10, 0, (struct sockaddr *)&to, sizeof to);
  await_events(b, POLLIN, POLLIN);
  ioctl(b, FIONREAD, &waiting);
  printf("FIONREAD: %d\n", waiting);
  printf("peek: %s\n", outcome(recv(b, data, 4, MSG_PEEK | MSG_TRUNC)));
  struct iovec vector = {data, 4};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  printf("recvmsg: %s", outcome(recvmsg(b, &message, 0)));
  printf(" %d\n", !!(message.msg_flags & MSG_TRUNC));
  printf("the rest is gone: %s\n", outcome(recv(b, data, 16, MSG_DONTWAIT)));
  to.sin_port = 0;
  printf("port 0: %s\n", outcome(sendto(a, "x", 1, 0, (struct sockaddr *)&to, sizeof to)));
  close(a);
  close(b);
}

static void connected(void) {
  int a = udp_socket(), b = udp_socket(), stranger = udp_socket();
  struct sockaddr_in at_a = loopback(port_of(a)), at_b = loopback(port_of(b));
  char data[16];
  printf("connect: %s\n", outcome(connect(a, (struct sockaddr *)&at_b, sizeof at_b)));
  printf("send: %s\n", outcome(send(a, "one", 3, 0)));
  printf("arrives: %s\n", outcome(recv(b, data, 16, 0)));
  sendto(stranger, "stranger", 8, 0, (struct sockaddr *)&at_a, sizeof at_a);
  sendto(b, "friend", 6, 0, (struct sockaddr *)&at_a, sizeof at_a);
  printf("only the peer: %s\n", outcome(recv(a, data, 16, 0)));
  settle();
  printf("nobody else: %s\n", outcome(recv(a, data, 16, MSG_DONTWAIT)));
  close(stranger);
  close(a);
  close(b);
}

static void sizes(void) {
  int a = udp_socket(), b = udp_socket();
  struct sockaddr_in to = loopback(port_of(b));
  static char data[65508];
  printf("65507: %s\n", outcome(sendto(a, data, 65507, 0, (struct sockaddr *)&to, sizeof to)));
  printf("whole: %s\n", outcome(recv(b, data, sizeof data, 0)));
  printf("65508: %s\n", outcome(sendto(a, data, 65508, 0, (struct sockaddr *)&to, sizeof to)));
  to.sin_addr.s_addr = htonl(INADDR_BROADCAST);
  printf("broadcast: %s\n", outcome(sendto(a, "x", 1, 0, (struct sockaddr *)&to, sizeof to)));
  close(a);
  close(b);
}

static void several(void) {
  int a = udp_socket(), b = udp_socket();
  struct sockaddr_in to = loopback(port_of(b));
  struct iovec out[] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
  char data[4][8];
  struct iovec in[] = {{data[0], 8}, {data[1], 8}, {data[2], 8}, {data[3], 8}};
  struct mmsghdr sent[3] = {0}, received[4] = {0};
  for (int i = 0; i < 3; i++)
    sent[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1, .msg_name = &to, .msg_namelen = sizeof to};
  for (int i = 0; i < 4; i++) received[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
  printf("sendmmsg: %s\n", outcome(sendmmsg(a, sent, 3, 0)));
  printf("recvmmsg: %s", outcome(recvmmsg(b, received, 3, 0, NULL)));
  printf(" %u %u %u\n", received[0].msg_len, received[1].msg_len, received[2].msg_len);
  sendmmsg(a, sent, 1, 0);
  printf("MSG_WAITFORONE: %s\n", outcome(recvmmsg(b, received, 4, MSG_WAITFORONE, NULL)));
  printf("none: %s\n", outcome(recvmmsg(b, received, 4, MSG_DONTWAIT, NULL)));
  close(a);
  close(b);
}

static int udp6_socket(struct in6_addr address, int v6_only, struct sockaddr_in6 *local) {
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  socklen_t length = sizeof *local;
  *local = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = address};
  set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6_only);
  if (bind(fd, (struct sockaddr *)local, sizeof *local) < 0) printf("bind: %s\n", error_name(errno));
  getsockname(fd, (struct sockaddr *)local, &length);
  return fd;
}

static void version6(void) {
  struct sockaddr_in6 at_a, at_b, from = {0};
  socklen_t length = sizeof from;
  int a = udp6_socket(in6addr_loopback, 1, &at_a), b = udp6_socket(in6addr_loopback, 1, &at_b);
  char data[16] = {0}, text[64];
  printf("IPv6 sendto: %s\n", outcome(sendto(a, "six", 3, 0, (struct sockaddr *)&at_b, sizeof at_b)));
  printf("recvfrom: %s", outcome(recvfrom(b, data, sizeof data, 0, (struct sockaddr *)&from, &length)));
  inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text);
  printf(" %s %s %d %d\n", data, text, from.sin6_port == at_a.sin6_port, (int)length);
  printf("connect: %s\n", outcome(connect(b, (struct sockaddr *)&at_a, sizeof at_a)));
  printf("send: %s\n", outcome(send(b, "back", 4, 0)));
  printf("arrives: %s\n", outcome(recv(a, data, sizeof data, 0)));
  struct sockaddr_in v4 = loopback(ntohs(at_b.sin6_port));
  printf("an IPv4 address: %s\n", outcome(sendto(a, "x", 1, 0, (struct sockaddr *)&v4, sizeof v4)));
  close(a);
  close(b);
}

static void both_versions(void) {
  struct sockaddr_in6 at_dual, from = {0};
  socklen_t length = sizeof from;
  int dual = udp6_socket(in6addr_any, 0, &at_dual), four = udp_socket();
  char data[16] = {0}, text[64];
  struct sockaddr_in to = loopback(ntohs(at_dual.sin6_port));
  sendto(four, "four", 4, 0, (struct sockaddr *)&to, sizeof to);
  printf("at both: %s", outcome(recvfrom(dual, data, sizeof data, 0, (struct sockaddr *)&from, &length)));
  inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text);
  printf(" %s %s\n", data, text);
  printf("answer: %s\n", outcome(sendto(dual, "mapped", 6, 0, (struct sockaddr *)&from, sizeof from)));
  printf("arrives: %s\n", outcome(recv(four, data, sizeof data, 0)));
  close(dual);
  close(four);
}

void datagrams(void) {
  exchange();
  connected();
  sizes();
  several();
  version6();
  both_versions();
}
