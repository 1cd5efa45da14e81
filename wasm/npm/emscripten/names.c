/* Names and services of <netdb.h>, by the resolver of the tunnel. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "webtun.h"

enum { MAX_ADDRESSES = 32, MAX_NAME = 253 };

/* The services that programs ask for by name; there is no /etc/services here. */
static const struct {
  const char *name;
  uint16_t port;
  char tcp, udp;
} services[] = {
    {"echo", 7, 1, 1},     {"discard", 9, 1, 1}, {"daytime", 13, 1, 1},    {"ftp", 21, 1, 0},    {"ssh", 22, 1, 0},
    {"telnet", 23, 1, 0},  {"smtp", 25, 1, 0},   {"time", 37, 1, 1},       {"domain", 53, 1, 1}, {"tftp", 69, 0, 1},
    {"http", 80, 1, 0},    {"pop3", 110, 1, 0},  {"ntp", 123, 0, 1},       {"imap2", 143, 1, 0}, {"snmp", 161, 1, 1},
    {"ldap", 389, 1, 1},   {"https", 443, 1, 1}, {"submission", 587, 1, 0}, {"ldaps", 636, 1, 1}, {"imaps", 993, 1, 0},
    {"pop3s", 995, 1, 0},  {"mysql", 3306, 1, 0}, {"postgresql", 5432, 1, 0}, {"redis", 6379, 1, 0},
};
enum { SERVICES = sizeof services / sizeof *services };

static int service_port(const char *name, int socktype) {
  for (int i = 0; i < SERVICES; i++) {
    if (strcmp(services[i].name, name)) continue;
    if (socktype == SOCK_DGRAM ? services[i].udp : services[i].tcp) return services[i].port;
    if (!socktype) return services[i].port;
  }
  return -1;
}

/* The port of `service` in host order, or an EAI_ number, all of which are negative. */
static int port_of(const char *service, int socktype, int flags) {
  if (!service) return 0;
  char *end;
  unsigned long port = strtoul(service, &end, 10);
  if (isdigit((unsigned char)*service) && !*end) return port <= 65535 ? (int)port : EAI_SERVICE;
  if (flags & AI_NUMERICSERV) return EAI_NONAME;
  int known = service_port(service, socktype);
  return known < 0 ? EAI_SERVICE : known;
}

static int failure_of(int error) {
  switch (-error) {
    case ENOENT:
    case EINVAL:
      return EAI_NONAME;
    case EAGAIN:
    case ETIMEDOUT:
      return EAI_AGAIN;
    default:
      return EAI_FAIL;
  }
}

static void put4(struct sockaddr_in6 *at, uint32_t address) {
  *(struct sockaddr_in *)at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = address};
}

static void put6(struct sockaddr_in6 *at, struct in6_addr address) {
  *at = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = address};
}

static int put_both(struct sockaddr_in6 *into, int family, uint32_t v4, struct in6_addr v6) {
  int count = 0;
  if (family != AF_INET) put6(&into[count++], v6);
  if (family != AF_INET6) put4(&into[count++], v4);
  return count;
}

/* The addresses of `name`, or an EAI_ number. */
static int addresses_of(const char *name, int family, int flags, struct sockaddr_in6 *into) {
  struct in_addr v4;
  struct in6_addr v6;
  if (!name && (flags & AI_PASSIVE)) return put_both(into, family, htonl(INADDR_ANY), in6addr_any);
  if (!name) return put_both(into, family, htonl(INADDR_LOOPBACK), in6addr_loopback);
  if (inet_aton(name, &v4)) {
    if (family == AF_INET6) return EAI_NONAME;
    put4(into, v4.s_addr);
    return 1;
  }
  if (inet_pton(AF_INET6, name, &v6) == 1) {
    if (family == AF_INET) return EAI_NONAME;
    put6(into, v6);
    return 1;
  }
  size_t length = strlen(name);
  if ((flags & AI_NUMERICHOST) || !length || length > MAX_NAME) return EAI_NONAME;
  if (!strcmp(name, "localhost")) return put_both(into, family, htonl(INADDR_LOOPBACK), in6addr_loopback);
  int count = WEBTUN_WAIT(webtun_resolve(name, length, family, into, MAX_ADDRESSES));
  return count > 0 ? count : count == 0 ? EAI_NONAME : failure_of(count);
}

/* One block for each result, so that freeaddrinfo() may be given a part of the list. */
struct result {
  struct addrinfo info;
  struct sockaddr_in6 address;
  char name[MAX_NAME + 1];
};

static struct result *new_result(const struct sockaddr_in6 *address, int socktype, int port) {
  struct result *result = calloc(1, sizeof *result);
  if (!result) return NULL;
  int v6 = address->sin6_family == AF_INET6;
  result->address = *address;
  result->address.sin6_port = htons(port);
  result->info = (struct addrinfo){
      .ai_family = address->sin6_family,
      .ai_socktype = socktype,
      .ai_protocol = socktype == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP,
      .ai_addrlen = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in),
      .ai_addr = (struct sockaddr *)&result->address,
  };
  return result;
}

void freeaddrinfo(struct addrinfo *list) {
  while (list) {
    struct addrinfo *next = list->ai_next;
    free(list);
    list = next;
  }
}

static int check_hints(const struct addrinfo *hints) {
  const int known = AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_V4MAPPED | AI_ALL | AI_ADDRCONFIG | AI_NUMERICSERV;
  if (hints->ai_flags & ~known) return EAI_BADFLAGS;
  if (hints->ai_family != AF_UNSPEC && hints->ai_family != AF_INET && hints->ai_family != AF_INET6) return EAI_FAMILY;
  if (hints->ai_socktype && hints->ai_socktype != SOCK_STREAM && hints->ai_socktype != SOCK_DGRAM) return EAI_SOCKTYPE;
  if (hints->ai_protocol == IPPROTO_TCP && hints->ai_socktype == SOCK_DGRAM) return EAI_SOCKTYPE;
  if (hints->ai_protocol == IPPROTO_UDP && hints->ai_socktype == SOCK_STREAM) return EAI_SOCKTYPE;
  return 0;
}

static int wants(const struct addrinfo *hints, int socktype) {
  if (hints->ai_socktype) return hints->ai_socktype == socktype;
  int protocol = socktype == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
  return !hints->ai_protocol || hints->ai_protocol == protocol;
}

static int append(struct addrinfo ***end, const struct sockaddr_in6 *address, const struct addrinfo *hints, int port) {
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
  for (int i = 0; i < 2; i++) {
    if (!wants(hints, types[i])) continue;
    struct result *result = new_result(address, types[i], port);
    if (!result) return EAI_MEMORY;
    **end = &result->info;
    *end = &result->info.ai_next;
  }
  return 0;
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict given,
                struct addrinfo **restrict found) {
  struct sockaddr_in6 addresses[MAX_ADDRESSES];
  struct addrinfo hints = given ? *given : (struct addrinfo){0}, *list = NULL, **end = &list;
  *found = NULL;
  if (!name && !service) return EAI_NONAME;
  if (!name && (hints.ai_flags & AI_CANONNAME)) return EAI_BADFLAGS;
  int failed = check_hints(&hints);
  if (failed) return failed;
  int port = port_of(service, hints.ai_socktype, hints.ai_flags);
  if (port < 0) return port;
  int count = addresses_of(name, hints.ai_family, hints.ai_flags, addresses);
  if (count < 0) return count;
  for (int i = 0; i < count && !failed; i++) failed = append(&end, &addresses[i], &hints, port);
  if (failed) {
    freeaddrinfo(list);
    return failed;
  }
  if (name && (hints.ai_flags & AI_CANONNAME)) {
    struct result *first = (struct result *)list;
    strncpy(first->name, name, MAX_NAME);
    list->ai_canonname = first->name;
  }
  *found = list;
  return 0;
}

static int service_name(int port, int flags, char *into, size_t room) {
  if (!(flags & NI_NUMERICSERV)) {
    for (int i = 0; i < SERVICES; i++) {
      if (services[i].port != port || !(flags & NI_DGRAM ? services[i].udp : services[i].tcp)) continue;
      return (size_t)snprintf(into, room, "%s", services[i].name) < room ? 0 : EAI_OVERFLOW;
    }
  }
  return (size_t)snprintf(into, room, "%d", port) < room ? 0 : EAI_OVERFLOW;
}

/* Addresses have no names here: the gateway's resolver is asked for addresses only. */
int getnameinfo(const struct sockaddr *restrict address, socklen_t length, char *restrict host, socklen_t host_room,
                char *restrict service, socklen_t service_room, int flags) {
  const struct sockaddr_in *v4 = (const void *)address;
  const struct sockaddr_in6 *v6 = (const void *)address;
  int is6 = address->sa_family == AF_INET6;
  if (!is6 && address->sa_family != AF_INET) return EAI_FAMILY;
  if (length < (is6 ? sizeof *v6 : sizeof *v4)) return EAI_FAMILY;
  if (host && host_room) {
    if (flags & NI_NAMEREQD) return EAI_NONAME;
    const void *octets = is6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr;
    if (!inet_ntop(address->sa_family, octets, host, host_room)) return EAI_OVERFLOW;
  }
  if (!service || !service_room) return 0;
  return service_name(ntohs(is6 ? v6->sin6_port : v4->sin_port), flags, service, service_room);
}

static int host_error(int failed) { return failed == EAI_NONAME ? HOST_NOT_FOUND : failed == EAI_AGAIN ? TRY_AGAIN : NO_RECOVERY; }

struct hostent *gethostbyname2(const char *name, int family) {
  static struct hostent host;
  static struct in6_addr values[MAX_ADDRESSES];
  static char *list[MAX_ADDRESSES + 1], *no_alias, text[MAX_NAME + 1];
  struct sockaddr_in6 addresses[MAX_ADDRESSES];
  int count = addresses_of(name, family, 0, addresses), kept = 0;
  for (int i = 0; i < count; i++) {
    if (addresses[i].sin6_family != family) continue;
    if (family == AF_INET6) values[kept] = addresses[i].sin6_addr;
    else memcpy(&values[kept], &((struct sockaddr_in *)&addresses[i])->sin_addr, sizeof(struct in_addr));
    list[kept] = (char *)&values[kept];
    kept++;
  }
  if (kept == 0) {
    h_errno = count < 0 ? host_error(count) : NO_DATA;
    return NULL;
  }
  list[kept] = NULL;
  strncpy(text, name, MAX_NAME);
  host = (struct hostent){.h_name = text, .h_aliases = &no_alias, .h_addrtype = family, .h_addr_list = list};
  host.h_length = family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
  return &host;
}

struct hostent *gethostbyname(const char *name) { return gethostbyname2(name, AF_INET); }

static struct servent *service_entry(int index) {
  static struct servent entry;
  static char *no_alias;
  int tcp = services[index].tcp;
  entry = (struct servent){.s_name = (char *)services[index].name, .s_aliases = &no_alias};
  entry.s_port = htons(services[index].port);
  entry.s_proto = tcp ? "tcp" : "udp";
  return &entry;
}

struct servent *getservbyname(const char *name, const char *protocol) {
  for (int i = 0; i < SERVICES; i++) {
    if (strcmp(services[i].name, name)) continue;
    if (!protocol || (!strcmp(protocol, "tcp") && services[i].tcp) || (!strcmp(protocol, "udp") && services[i].udp)) {
      struct servent *entry = service_entry(i);
      if (protocol && !strcmp(protocol, "udp")) entry->s_proto = "udp";
      return entry;
    }
  }
  return NULL;
}
