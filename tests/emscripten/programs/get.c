/* HTTP by blocking calls: `get HOST PATH` prints how many octets have come, and their sum, or what ended it. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[65536];

static int connect_to(const char *host) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
  int fd = -1, error = getaddrinfo(host, "http", &hints, &list);
  if (error) return printf("%s: %s\n", host, gai_strerror(error)), -1;
  for (struct addrinfo *each = list; each && fd < 0; each = each->ai_next) {
    fd = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
    if (connect(fd, each->ai_addr, each->ai_addrlen) == 0) break;
    close(fd);
    fd = -1;
  }
  freeaddrinfo(list);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int fd = connect_to(argv[1]);
  if (fd < 0) return printf("connect: %s\n", strerror(errno)), 1;
  int length = snprintf(data, sizeof data, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[2], argv[1]);
  if (send(fd, data, length, MSG_NOSIGNAL) != length) return 1;
  long long octets = -1;
  uint32_t sum = 0;
  ssize_t count;
  while ((count = recv(fd, data, sizeof data, 0)) > 0) {
    ssize_t from = 0;
    if (octets < 0) {
      char *body = memmem(data, count, "\r\n\r\n", 4);
      if (!body) return puts("no head in the first piece"), 1;
      from = body + 4 - data;
      octets = 0;
      puts("begun");
    }
    for (ssize_t i = from; i < count; i++) sum = sum * 31 + (unsigned char)data[i];
    octets += count - from;
  }
  if (count < 0) {
    const char *name = errno == ECONNRESET ? "ECONNRESET" : errno == ETIMEDOUT ? "ETIMEDOUT" : strerror(errno);
    return printf("recv: %s\n", name), 1;
  }
  printf("%lld octets, sum %u\n", octets, sum);
  return 0;
}
