/* getaddrinfo() and getnameinfo() as far as they need no name server. */
#include "conformance.h"

static const char *gai(int error) {
  return error == 0              ? "0"
         : error == EAI_NONAME   ? "EAI_NONAME"
         : error == EAI_SERVICE  ? "EAI_SERVICE"
         : error == EAI_FAMILY   ? "EAI_FAMILY"
         : error == EAI_SOCKTYPE ? "EAI_SOCKTYPE"
         : error == EAI_BADFLAGS ? "EAI_BADFLAGS"
         : error == EAI_OVERFLOW ? "EAI_OVERFLOW"
                                 : gai_strerror(error);
}

static void look(const char *name, const char *service, int flags, int family, int type) {
  struct addrinfo hints = {.ai_flags = flags, .ai_family = family, .ai_socktype = type}, *list = NULL;
  int error = getaddrinfo(name, service, &hints, &list);
  printf("%s %s: %s", name ? name : "-", service ? service : "-", gai(error));
  for (struct addrinfo *each = list; each; each = each->ai_next) {
    char host[64], port[16];
    getnameinfo(each->ai_addr, each->ai_addrlen, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    printf(" [%s %s %d %d]", host, port, each->ai_socktype, each->ai_protocol);
  }
  puts("");
  if (list) freeaddrinfo(list);
}

static void canonical(const char *name) {
  struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
  int error = getaddrinfo(name, NULL, &hints, &list);
  printf("AI_CANONNAME %s: %s %s\n", name, gai(error), list && list->ai_canonname ? list->ai_canonname : "none");
  if (list) freeaddrinfo(list);
}

/* Of an address into so much room. */
static void name_of(size_t host_room, size_t service_room, int flags) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0xc0000207)};
  char host[64] = "", service[16] = "";
  int error = getnameinfo((struct sockaddr *)&address, sizeof address, host, host_room, service, service_room, flags);
  printf("getnameinfo %d %d: %s", (int)host_room, (int)service_room, gai(error));
  printf(error ? "\n" : " %s %s\n", host, service);
}

static void host_of(const char *name, int family) {
  char text[64] = "none";
  struct hostent *host = gethostbyname2(name, family);
  if (host) inet_ntop(host->h_addrtype, host->h_addr_list[0], text, sizeof text);
  printf("gethostbyname2 %s: %s %d %d\n", name, text, host ? host->h_length : 0, host && host->h_addrtype == family);
}

static void show(const char *what, const struct servent *entry) {
  printf("%s: %s %d %s\n", what, entry ? entry->s_name : "none", entry ? ntohs(entry->s_port) : 0,
         entry ? entry->s_proto : "");
}

static void services(void) {
  show("http tcp", getservbyname("http", "tcp"));
  show("domain udp", getservbyname("domain", "udp"));
  show("domain", getservbyname("domain", NULL));
  show("http sctp", getservbyname("http", "sctp"));
  show("no such", getservbyname("no-such-service", "tcp"));
  show("port 53 udp", getservbyport(htons(53), "udp"));
  show("port 22", getservbyport(htons(22), NULL));
  show("port 4", getservbyport(htons(4), "tcp"));
}

void names(void) {
  look("192.0.2.7", "80", 0, AF_UNSPEC, SOCK_STREAM);
  look("2001:db8::7", "http", 0, AF_UNSPEC, SOCK_STREAM);
  look("192.0.2.7", "domain", 0, AF_INET, SOCK_DGRAM);
  look(NULL, "8080", AI_PASSIVE, AF_INET, SOCK_STREAM);
  look(NULL, "8080", 0, AF_INET6, SOCK_STREAM);
  look("name.example", "80", AI_NUMERICHOST, AF_UNSPEC, SOCK_STREAM);
  look("192.0.2.7", "http", AI_NUMERICSERV, AF_UNSPEC, SOCK_STREAM);
  look("192.0.2.7", "no-such-service", 0, AF_UNSPEC, SOCK_STREAM);
  look("192.0.2.7", "80", 0, 77, SOCK_STREAM);
  look("192.0.2.7", "80", 0, AF_INET, 77);
  look(NULL, NULL, 0, AF_INET, SOCK_STREAM);
  look("localhost", "80", 0, AF_INET, SOCK_STREAM);
  look("192.0.2.7", "80", 0x40000000, AF_UNSPEC, SOCK_STREAM);
  look(NULL, "80", AI_CANONNAME, AF_INET, SOCK_STREAM);
  canonical("192.0.2.7");
  struct sockaddr_in address = loopback(80);
  char service[16];
  int error = getnameinfo((struct sockaddr *)&address, sizeof address, NULL, 0, service, sizeof service, 0);
  printf("service: %s %s\n", gai(error), service);
  name_of(64, 16, NI_NUMERICHOST | NI_DGRAM);
  name_of(64, 16, NI_NUMERICHOST | NI_NUMERICSERV);
  name_of(4, 16, NI_NUMERICHOST);
  name_of(64, 3, NI_NUMERICHOST);
  struct hostent *host = gethostbyname("192.0.2.9");
  printf("gethostbyname: %d %d\n", host && host->h_addrtype == AF_INET, host ? host->h_length : 0);
  host_of("192.0.2.9", AF_INET);
  host_of("2001:db8::9", AF_INET6);
  host_of("localhost", AF_INET);
  services();
}
