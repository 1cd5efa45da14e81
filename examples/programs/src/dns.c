/* A lookup by hand (RFC 1035): `dns SERVER NAME` asks over a connected UDP socket, and over TCP where the answer was cut; it
 * prints by which way how many addresses came, and the first. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 12, TYPE_A = 1, ATTEMPTS = 3, PATIENCE = 2000, LARGEST = 65535 };

static uint8_t answer[LARGEST];

static int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static int word(const uint8_t *at) { return at[0] << 8 | at[1]; }

/* The question, and its length. */
static int ask_for(const char *name, uint8_t *query) {
  static const uint8_t header[HEADER] = {0x17, 0x01, 0x01, 0x00, 0x00, 0x01};
  uint8_t *at = query + HEADER;
  memcpy(query, header, HEADER);
  while (*name) {
    size_t length = strcspn(name, ".");
    *at++ = length;
    memcpy(at, name, length);
    at += length;
    name += length + (name[length] == '.');
  }
  static const uint8_t tail[] = {0, 0, TYPE_A, 0, 1};
  memcpy(at, tail, sizeof tail);
  return at + sizeof tail - query;
}

static int connected(const char *server, int type) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
  int fd = socket(AF_INET, type, 0);
  if (inet_pton(AF_INET, server, &address.sin_addr) != 1) return fail("the server's address");
  return fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) ? fail("connect") : fd;
}

static int by_udp(const char *server, const uint8_t *query, int length) {
  int fd = connected(server, SOCK_DGRAM);
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    if (send(fd, query, length, 0) != length) fail("send");
    if (poll(&entry, 1, PATIENCE) == 1) break;
  }
  ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
  close(fd);
  return got < HEADER ? fail("recv") : got;
}

static int by_tcp(const char *server, const uint8_t *query, int length) {
  int fd = connected(server, SOCK_STREAM);
  uint8_t size[2] = {length >> 8, length};
  if (write(fd, size, 2) != 2 || write(fd, query, length) != length) fail("write");
  if (recv(fd, size, 2, MSG_WAITALL) != 2) fail("the length");
  int got = word(size);
  if (got < HEADER || recv(fd, answer, got, MSG_WAITALL) != got) fail("the answer");
  close(fd);
  return got;
}

/* The octet behind a name (RFC 1035 section 4.1.4). */
static int behind_name(int at, int end) {
  while (at < end && answer[at] && answer[at] < 0xc0) at += 1 + answer[at];
  return at + (at < end && answer[at] ? 2 : 1);
}

static void report(const char *way, int end) {
  char first[INET_ADDRSTRLEN] = "none";
  int count = 0, at = behind_name(HEADER, end) + 4;
  for (int left = word(answer + 6); left > 0 && at < end; left--) {
    int record = behind_name(at, end);
    if (record + 10 > end) break;
    int size = word(answer + record + 8);
    if (word(answer + record) == TYPE_A && size == 4 && record + 14 <= end && count++ == 0)
      inet_ntop(AF_INET, answer + record + 10, first, sizeof first);
    at = record + 10 + size;
  }
  printf("%s: code %d, %d, %s\n", way, answer[3] & 15, count, first);
}

int main(int argc, char **argv) {
  uint8_t query[HEADER + 260];
  if (argc != 3 || strlen(argv[2]) > 240) return 2;
  int length = ask_for(argv[2], query), got = by_udp(argv[1], query, length);
  const char *way = "udp";
  if (answer[2] & 2) got = by_tcp(argv[1], query, length), way = "tcp";
  if (memcmp(answer, query, 2)) return 3;
  report(way, got);
  return 0;
}
