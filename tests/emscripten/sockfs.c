// Built by emcc without any flag of ours: its sockets are WebSockets. Sends lines to an echo server by name and prints what
// comes back, then tries a port where nobody listens.
#include <arpa/inet.h>
#include <emscripten.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define OCTETS 200000

static int echo, refused, sent, received, wrong, failed, told;

static int dial(const char *host, const char *port) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
  if (getaddrinfo(host, port, &hints, &found) != 0) {
    printf("no address for %s\n", host);
    return -1;
  }
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) perror("connect");
  freeaddrinfo(found);
  return fd;
}

static char octet(int at) { return (char)(at ^ at >> 8); }

static void step_echo(fd_set *readable, fd_set *writable) {
  char piece[4096];
  if (sent < OCTETS && FD_ISSET(echo, writable)) {
    int length = OCTETS - sent < (int)sizeof piece ? OCTETS - sent : (int)sizeof piece;
    for (int i = 0; i < length; i++) piece[i] = octet(sent + i);
    int done = send(echo, piece, length, 0);
    if (done > 0) sent += done;
  }
  if (!FD_ISSET(echo, readable)) return;
  int length = recv(echo, piece, sizeof piece, 0);
  for (int i = 0; i < length; i++) wrong += piece[i] != octet(received + i);
  if (length > 0) received += length;
}

static void step(void) {
  fd_set readable, writable;
  FD_ZERO(&readable);
  FD_ZERO(&writable);
  FD_SET(echo, &readable);
  FD_SET(echo, &writable);
  select(echo + 1, &readable, &writable, NULL, NULL);
  step_echo(&readable, &writable);
  char octets[1];
  ssize_t got = recv(refused, octets, 1, 0);
  if (got == 0 || (got < 0 && errno != EAGAIN)) failed = 1;
  if (received < OCTETS) return;
  if (!told) printf("echoed %d octets, %d wrong\n", received, wrong);
  told = 1;
  if (!failed) return;
  printf("the other one failed\n");
  close(echo);
  emscripten_cancel_main_loop();
}

int main(void) {
  echo = dial("echo.playground.test", "7");
  refused = dial("echo.playground.test", "1");
  emscripten_set_main_loop(step, 100, 0);
  return 0;
}
