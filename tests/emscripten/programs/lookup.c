/* `lookup NAME...`: what the older and the newer call say of each, where a name server has to be asked. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

static const char *host_word(void) {
  return h_errno == HOST_NOT_FOUND ? "HOST_NOT_FOUND" : h_errno == TRY_AGAIN ? "TRY_AGAIN" : hstrerror(h_errno);
}

static const char *word(int error) {
  return error == EAI_NONAME ? "EAI_NONAME" : error == EAI_AGAIN ? "EAI_AGAIN" : gai_strerror(error);
}

static void by_gethostbyname(const char *name) {
  struct hostent *host = gethostbyname(name);
  int count = 0;
  while (host && host->h_addr_list[count]) count++;
  if (host) printf("%s: %d, %s", name, count, inet_ntoa(*(struct in_addr *)host->h_addr_list[0]));
  else printf("%s: %s", name, host_word());
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    by_gethostbyname(argv[i]);
    int error = getaddrinfo(argv[i], "80", &hints, &list), count = 0;
    for (struct addrinfo *each = list; each; each = each->ai_next) count++;
    if (error) printf("; %s\n", word(error));
    else printf("; %d\n", count);
    if (list) freeaddrinfo(list);
  }
  return 0;
}
