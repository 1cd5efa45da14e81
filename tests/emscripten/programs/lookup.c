/* `lookup NAME...`: what the older and the newer call say of each, where a name server has to be asked. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

static void by_gethostbyname(const char *name) {
  struct hostent *host = gethostbyname(name);
  int count = 0;
  while (host && host->h_addr_list[count]) count++;
  if (host) printf("%s: %d, %s", name, count, inet_ntoa(*(struct in_addr *)host->h_addr_list[0]));
  else printf("%s: %s", name, h_errno == HOST_NOT_FOUND ? "HOST_NOT_FOUND" : hstrerror(h_errno));
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    by_gethostbyname(argv[i]);
    int error = getaddrinfo(argv[i], "80", &hints, &list), count = 0;
    for (struct addrinfo *each = list; each; each = each->ai_next) count++;
    if (error) printf("; %s\n", error == EAI_NONAME ? "EAI_NONAME" : gai_strerror(error));
    else printf("; %d\n", count);
    if (list) freeaddrinfo(list);
  }
  return 0;
}
