/* `fastopen ADDRESS PORT [OPTION]`: connects, with OPTION by TCP_FASTOPEN_CONNECT; writes, reads, and prints how each went,
 * and from which address. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void tell(const char *what, long result) {
  printf("%s: %s\n", what, result < 0 ? strerror(errno) : "ok");
}

int main(int count, char **given) {
  struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(atoi(given[2]))};
  inet_pton(AF_INET, given[1], &remote.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (count > 3) tell("option", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on));
  int connected = connect(fd, (struct sockaddr *)&remote, sizeof remote);
  tell("connect", connected);
  char octets[] = "first of all", back[sizeof octets] = "";
  if (connected == 0) {
    tell("write", write(fd, octets, sizeof octets));
    ssize_t length = 0, got;
    while ((got = read(fd, back + length, sizeof back - length)) > 0 && (length += got) < (ssize_t)sizeof back) {}
    tell("read", got);
    if (got > 0) printf("the same: %s\n", strcmp(octets, back) == 0 ? "yes" : "no");
    struct sockaddr_in local;
    char text[INET_ADDRSTRLEN];
    socklen_t size = sizeof local;
    getsockname(fd, (struct sockaddr *)&local, &size);
    if (got > 0) printf("from %s\n", inet_ntop(AF_INET, &local.sin_addr, text, sizeof text));
  }
  close(fd);
  return 0;
}
