/* The functions of webtun-library.js. Each gives 0 or more, or a negative errno. */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

int webtun_socket(int domain, int type, int protocol);
int webtun_socketpair(int domain, int type, int protocol, int fds[2]);
int webtun_bind(int fd, const struct sockaddr *address, socklen_t length);
int webtun_connect(int fd, const struct sockaddr *address, socklen_t length);
int webtun_listen(int fd, int backlog);
int webtun_accept(int fd, struct sockaddr *address, socklen_t *length, int flags);
int webtun_shutdown(int fd, int how);
int webtun_name(int fd, int peer, struct sockaddr *address, socklen_t *length);
int webtun_send(int fd, const struct iovec *vectors, int count, int flags, const struct sockaddr *to, socklen_t length);
int webtun_receive(int fd, const struct iovec *vectors, int count, int flags, struct sockaddr *from, socklen_t *length,
                   int *message_flags);
int webtun_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int webtun_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int webtun_fcntl(int fd, int command, int argument);
int webtun_ioctl(int fd, int request, void *argument);
int webtun_dup(int fd, int to);
int webtun_poll(void *entries, int count, int milliseconds);
int webtun_epollCreate(void);
int webtun_epollControl(int epfd, int operation, int fd, void *event);
int webtun_epollWait(int epfd, void *events, int room, int milliseconds);
int webtun_resolve(const char *name, int length, int family, void *addresses, int room);

#ifdef __EMSCRIPTEN_PTHREADS__
/* The functions run in the program's first thread, which must not wait for one of the others: a call that has to is told
 * to by a ticket, sleeps here until something has changed, and asks again. */
enum { WEBTUN_PENDING = -0x10000 };
int webtun_changes(void);
int webtun_wait(int ticket, int seen);
#define WEBTUN_WAIT(call)                                         \
  ({                                                              \
    int seen_ = webtun_changes(), result_ = (call);               \
    result_ <= WEBTUN_PENDING ? webtun_wait(result_, seen_) : result_; \
  })
#else
/* The functions wait by themselves. */
#define WEBTUN_WAIT(call) (call)
#endif

/* What a libc function returns for the result of one of the above. */
static inline int webtun_result(int result) {
  if (result >= 0) return result;
  errno = -result;
  return -1;
}
