/* An HTTP server by blocking calls: `httpd N` says its port, answers N requests with their own first line, and ends. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads up to the empty line; the length of the first line, or -1. */
static int read_request(int fd, char *text, size_t room) {
  size_t have = 0;
  while (have < room - 1) {
    ssize_t got = recv(fd, text + have, room - 1 - have, 0);
    if (got <= 0) return -1;
    have += got;
    text[have] = 0;
    if (strstr(text, "\r\n\r\n")) return strcspn(text, "\r\n");
  }
  return -1;
}

static int answer(int listener) {
  char request[4096], head[256];
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) return perror("accept"), 0;
  int line = read_request(fd, request, sizeof request);
  if (line > 0) {
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
                          line + 1);
    request[line] = '\n';
    if (send(fd, head, length, MSG_NOSIGNAL) < 0 || send(fd, request, line + 1, MSG_NOSIGNAL) < 0) perror("send");
  }
  close(fd);
  return line > 0;
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  int answered = 0, wanted = argc == 2 ? atoi(argv[1]) : 0;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16)) return perror("listen"), 1;
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  while (answered < wanted) answered += answer(listener);
  close(listener);
  printf("%d answered\n", answered);
  return 0;
}
