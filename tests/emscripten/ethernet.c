// Built by emcc without any flag of ours: its socket is a WebSocket, through which it speaks as a QEMU built by emcc does, each
// frame behind its length in a stream that is cut anywhere. Asks by ARP (RFC 826, RFC 5227) who its router is, many times, and
// prints how many answers have come.
#include <arpa/inet.h>
#include <emscripten.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 200, AT_ONCE = 5, ARP = 42, LONGEST = 4 + 1518, REPLY = 2 };

static const uint8_t QUESTION[ARP] = {
    255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6,        // Ethernet: to all, from us, ARP
    0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0,        // a request, from us, who have no address yet
    0, 0, 0, 0, 0, 0, 192, 168, 127, 1,                          // for the router's address
};

static int fd, asked, answered, others;
static uint8_t out[AT_ONCE * LONGEST], in[1 << 16];
static size_t out_length, out_sent, in_length;

// Frames of many lengths, so that they begin and end anywhere in the pieces.
static void ask(void) {
  for (out_length = out_sent = 0; out_length == 0 || asked % AT_ONCE != 0; asked++) {
    size_t length = ARP + asked * 37 % 1400;
    uint32_t prefix = htonl(length);
    memset(out + out_length, 0, 4 + length);
    memcpy(out + out_length, &prefix, 4);
    memcpy(out + out_length + 4, QUESTION, ARP);
    out_length += 4 + length;
  }
}

static void take(const uint8_t *frame, size_t length) {
  int is_answer = length >= ARP && frame[12] == 8 && frame[13] == 6 && frame[21] == REPLY && frame[31] == 1;
  *(is_answer ? &answered : &others) += 1;
}

static void hear(void) {
  ssize_t got = recv(fd, in + in_length, sizeof in - in_length, 0);
  if (got == 0) printf("the connection has ended\n");
  if (got <= 0) return;
  in_length += got;
  size_t at = 0;
  for (uint32_t length; at + 4 <= in_length; at += 4 + length) {
    memcpy(&length, in + at, 4);
    length = ntohl(length);
    if (at + 4 + length > in_length) break;
    take(in + at + 4, length);
  }
  memmove(in, in + at, in_length -= at);
}

static void step(void) {
  hear();
  if (out_sent == out_length && answered == asked && asked < ROUNDS) ask();
  // Pieces of a length that divides nothing.
  for (size_t piece; out_sent < out_length; out_sent += piece) {
    piece = out_length - out_sent < 611 ? out_length - out_sent : 611;
    if (send(fd, out + out_sent, piece, 0) != (ssize_t)piece) return;
  }
  if (answered < ROUNDS) return;
  printf("%d answers\n", answered);
  close(fd);
  emscripten_cancel_main_loop();
}

int main(void) {
  struct sockaddr_in relay = {.sin_family = AF_INET, .sin_port = htons(8888), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  fd = socket(AF_INET, SOCK_STREAM, 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, (struct sockaddr *)&relay, sizeof relay) != 0 && errno != EINPROGRESS) perror("connect");
  emscripten_set_main_loop(step, 100, 0);
  return 0;
}
