// A program in C++, which is linked by em++.
#include <iostream>
#include <sys/socket.h>
#include <unistd.h>

int main() {
  const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  std::cout << (fd >= 0 ? "a socket" : "no socket") << std::endl;
  return close(fd);
}
