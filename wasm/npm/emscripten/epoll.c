/* The functions of <sys/epoll.h>, for sockets and what else poll() knows. */
#define _GNU_SOURCE
#include <sys/epoll.h>

#include "webtun.h"

int epoll_create1(int flags) { return webtun_result(flags & ~EPOLL_CLOEXEC ? -EINVAL : webtun_epollCreate()); }

int epoll_create(int size) { return size > 0 ? epoll_create1(0) : webtun_result(-EINVAL); }

int epoll_ctl(int epfd, int operation, int fd, struct epoll_event *event) {
  return webtun_result(webtun_epollControl(epfd, operation, fd, event));
}

int epoll_wait(int epfd, struct epoll_event *events, int room, int timeout) {
  return webtun_result(WEBTUN_WAIT(webtun_epollWait(epfd, events, room, timeout)));
}

/* There are no signals here, so that the mask has nothing to mask. */
int epoll_pwait(int epfd, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
  (void)mask;
  return epoll_wait(epfd, events, room, timeout);
}
