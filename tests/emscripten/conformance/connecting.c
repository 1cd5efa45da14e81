/* bind(), listen(), connect(), accept() and their errors. */
#include "conformance.h"

static int free_port(void) {
  int fd = tcp_listener(1), port = port_of(fd);
  close(fd);
  return port;
}

static void refusals(void) {
  struct sockaddr_in nobody = loopback(free_port());
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  printf("refused: %s\n", outcome(connect(fd, (struct sockaddr *)&nobody, sizeof nobody)));
  close(fd);
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int first = connect(fd, (struct sockaddr *)&nobody, sizeof nobody);
  struct pollfd entry = {.fd = fd, .events = POLLOUT};
  printf("non-blocking: %s\n", outcome(first));
  printf("poll: %d\n", poll(&entry, 1, 2000));
  printf("events: %d %d %d\n", !!(entry.revents & POLLOUT), !!(entry.revents & POLLERR), !!(entry.revents & POLLHUP));
  printf("SO_ERROR: %s\n", error_name(get_number(fd, SOL_SOCKET, SO_ERROR)));
  printf("SO_ERROR again: %s\n", error_name(get_number(fd, SOL_SOCKET, SO_ERROR)));
  close(fd);
}

static void in_progress(void) {
  int listener = tcp_listener(4), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in remote = loopback(port_of(listener)), peer = {0};
  socklen_t length = sizeof peer;
  printf("connect: %s\n", outcome(connect(fd, (struct sockaddr *)&remote, sizeof remote)));
  struct pollfd entry = {.fd = fd, .events = POLLOUT | POLLIN};
  printf("poll: %d", poll(&entry, 1, 2000));
  printf(" %d\n", entry.revents == POLLOUT);
  printf("SO_ERROR: %s\n", error_name(get_number(fd, SOL_SOCKET, SO_ERROR)));
  printf("connect again: %s\n", outcome(connect(fd, (struct sockaddr *)&remote, sizeof remote)));
  printf("and again: %s\n", outcome(connect(fd, (struct sockaddr *)&remote, sizeof remote)));
  printf("getpeername: %s", outcome(getpeername(fd, (struct sockaddr *)&peer, &length)));
  printf(" %d\n", peer.sin_port == remote.sin_port);
  length = 4;
  printf("with little room: %s", outcome(getpeername(fd, (struct sockaddr *)&peer, &length)));
  printf(" %d\n", (int)length);
  int server = accept(listener, (struct sockaddr *)&peer, &(socklen_t){sizeof peer});
  printf("accepted from: %d\n", ntohs(peer.sin_port) == port_of(fd));
  close(server);
  close(fd);
  close(listener);
}

static void backlog(void) {
  int listener = tcp_listener(8), clients[4];
  struct sockaddr_in remote = loopback(port_of(listener));
  fcntl(listener, F_SETFL, O_NONBLOCK);
  printf("nobody: %s\n", outcome(accept(listener, NULL, NULL)));
  for (int i = 0; i < 4; i++) {
    clients[i] = socket(AF_INET, SOCK_STREAM, 0);
    printf("waits in the backlog: %s\n", outcome(connect(clients[i], (struct sockaddr *)&remote, sizeof remote)));
    char digit = '0' + i;
    write(clients[i], &digit, 1);
  }
  for (int i = 0; i < 4; i++) {
    struct pollfd entry = {.fd = listener, .events = POLLIN};
    char digit = 0;
    int ready = poll(&entry, 1, 1000), server = accept(listener, NULL, NULL);
    printf("accept %d: %ld", ready, (long)read(server, &digit, 1));
    printf(" %c\n", digit);
    close(server);
    close(clients[i]);
  }
  close(listener);
}

static void binding(void) {
  int listener = tcp_listener(1), fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in taken = loopback(port_of(listener)), foreign = loopback(0);
  foreign.sin_addr.s_addr = inet_addr("203.0.113.77");
  printf("taken: %s\n", outcome(bind(fd, (struct sockaddr *)&taken, sizeof taken)));
  printf("foreign: %s\n", outcome(bind(fd, (struct sockaddr *)&foreign, sizeof foreign)));
  printf("short: %s\n", outcome(bind(fd, (struct sockaddr *)&taken, 3)));
  struct sockaddr_in any = loopback(0);
  printf("bind: %s\n", outcome(bind(fd, (struct sockaddr *)&any, sizeof any)));
  printf("has a port: %d\n", port_of(fd) > 0);
  printf("twice: %s\n", outcome(bind(fd, (struct sockaddr *)&any, sizeof any)));
  any.sin_family = AF_INET6;
  int other = socket(AF_INET, SOCK_STREAM, 0);
  printf("family: %s\n", outcome(connect(other, (struct sockaddr *)&any, sizeof any)));
  close(other);
  close(fd);
  close(listener);
}

static void wrong(void) {
  int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
  char data[4];
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  printf("family 77: %s\n", outcome(socket(77, SOCK_STREAM, 0)));
  printf("type 77: %s\n", outcome(socket(AF_INET, 77, 0)));
  printf("UDP on a stream: %s\n", outcome(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP)));
  printf("no descriptor: %s %s\n", outcome(listen(999, 1)), outcome(recv(-1, data, 4, 0)));
  int null = open("/dev/null", O_RDONLY);
  printf("no socket: %s\n", outcome(connect(null, (struct sockaddr *)&peer, length)));
  printf("still a file: %s\n", outcome(read(null, data, 4)));
  close(null);
  printf("listen on UDP: %s\n", outcome(listen(udp, 1)));
  printf("accept on UDP: %s\n", outcome(accept(udp, NULL, NULL)));
  printf("accept without listen: %s\n", outcome(accept(tcp, NULL, NULL)));
  printf("recv unconnected: %s\n", outcome(recv(tcp, data, 4, 0)));
  printf("send unconnected: %s\n", outcome(send(tcp, data, 4, MSG_NOSIGNAL)));
  printf("shutdown unconnected: %s\n", outcome(shutdown(tcp, SHUT_RDWR)));
  printf("getpeername unconnected: %s\n", outcome(getpeername(tcp, (struct sockaddr *)&peer, &length)));
  printf("send to nobody: %s\n", outcome(send(udp, data, 4, 0)));
  printf("ioctl 77: %s\n", outcome(ioctl(tcp, 0x7777, data)));
  close(udp);
  close(tcp);
}

void connecting(void) {
  refusals();
  in_progress();
  backlog();
  binding();
  wrong();
}
