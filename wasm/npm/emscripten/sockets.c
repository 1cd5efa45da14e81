/* The functions of <sys/socket.h>. */
#define _GNU_SOURCE
#include <stddef.h>
#include <time.h>

#include "webtun.h"

int socket(int domain, int type, int protocol) { return webtun_result(webtun_socket(domain, type, protocol)); }

int socketpair(int domain, int type, int protocol, int fds[2]) {
  return webtun_result(webtun_socketpair(domain, type, protocol, fds));
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  return webtun_result(WEBTUN_WAIT(webtun_bind(fd, address, length)));
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  return webtun_result(WEBTUN_WAIT(webtun_connect(fd, address, length)));
}

int listen(int fd, int backlog) { return webtun_result(WEBTUN_WAIT(webtun_listen(fd, backlog))); }

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
  return webtun_result(WEBTUN_WAIT(webtun_accept(fd, address, length, flags)));
}

int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
  return accept4(fd, address, length, 0);
}

int shutdown(int fd, int how) { return webtun_result(webtun_shutdown(fd, how)); }

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
  return webtun_result(webtun_name(fd, 0, address, length));
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
  return webtun_result(webtun_name(fd, 1, address, length));
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length) {
  return webtun_result(webtun_getsockopt(fd, level, name, value, length));
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  return webtun_result(webtun_setsockopt(fd, level, name, value, length));
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
  struct iovec vector = {(void *)data, size};
  return webtun_result(WEBTUN_WAIT(webtun_send(fd, &vector, 1, flags, to, length)));
}

ssize_t send(int fd, const void *data, size_t size, int flags) { return sendto(fd, data, size, flags, NULL, 0); }

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  return webtun_result(WEBTUN_WAIT(
      webtun_send(fd, message->msg_iov, message->msg_iovlen, flags, message->msg_name, message->msg_namelen)));
}

ssize_t recvfrom(int fd, void *restrict data, size_t size, int flags, struct sockaddr *restrict from,
                 socklen_t *restrict length) {
  struct iovec vector = {data, size};
  return webtun_result(WEBTUN_WAIT(webtun_receive(fd, &vector, 1, flags, from, from ? length : NULL, NULL)));
}

ssize_t recv(int fd, void *data, size_t size, int flags) { return recvfrom(fd, data, size, flags, NULL, NULL); }

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  int told = 0;
  int result = WEBTUN_WAIT(webtun_receive(fd, message->msg_iov, message->msg_iovlen, flags, message->msg_name,
                                          &message->msg_namelen, &told));
  if (result >= 0) {
    message->msg_flags = told;
    message->msg_controllen = 0;
  }
  return webtun_result(result);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, unsigned flags) {
  unsigned done = 0;
  for (; done < count; done++) {
    ssize_t sent = sendmsg(fd, &messages[done].msg_hdr, flags);
    if (sent < 0) break;
    messages[done].msg_len = sent;
  }
  return done == 0 && count > 0 ? -1 : (int)done;
}

/* As on Linux, the time is looked at after each message only. */
int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, unsigned flags, struct timespec *timeout) {
  struct timespec now, end = {0};
  if (timeout) {
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout->tv_sec;
    end.tv_nsec += timeout->tv_nsec;
  }
  unsigned done = 0;
  while (done < count) {
    ssize_t received = recvmsg(fd, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
    if (received < 0) break;
    messages[done++].msg_len = received;
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
    if (!timeout) continue;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - end.tv_sec) * 1000000000LL + now.tv_nsec - end.tv_nsec >= 0) break;
  }
  return done == 0 && count > 0 ? -1 : (int)done;
}
