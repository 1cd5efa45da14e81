/* A program without a file of its own: a connection to itself, its end, and read() and write() on it. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  char octet = 'x';
  int listener = socket(AF_INET, SOCK_STREAM, 0), there = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1)) return 1;
  if (getsockname(listener, (struct sockaddr *)&address, &length)) return 2;
  if (connect(there, (struct sockaddr *)&address, length)) return 3;
  int here = accept(listener, NULL, NULL);
  if (here < 0 || write(there, &octet, 1) != 1 || read(here, &octet, 1) != 1) return 4;
  close(there);
  printf("%d octets behind the end\n", (int)read(here, &octet, 1));
  close(here);
  return 0;
}
