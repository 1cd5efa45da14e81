/* What sockets share with files: waiting, modes and copies of descriptors. Files are left to emscripten. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

#include "webtun.h"

int __syscall_fcntl64(int fd, int command, ...);
int __syscall_ioctl(int fd, int request, ...);
int __syscall_dup(int fd);
int __syscall_dup3(int fd, int to, int flags);

int poll(struct pollfd *entries, nfds_t count, int timeout) { return webtun_result(WEBTUN_WAIT(webtun_poll(entries, count, timeout))); }

/* Milliseconds, rounded up: a wait may be longer than it was asked for, never shorter. */
static int milliseconds(long long seconds, long nanoseconds) {
  long long all = seconds * 1000 + (nanoseconds + 999999) / 1000000;
  return all > INT_MAX ? INT_MAX : (int)all;
}

/* There are no signals here, so that the mask has nothing to mask. */
int ppoll(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  (void)mask;
  if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0)) return webtun_result(-EINVAL);
  return poll(entries, count, timeout ? milliseconds(timeout->tv_sec, timeout->tv_nsec) : -1);
}

static int member(fd_set *set, int fd) { return set && FD_ISSET(fd, set); }

static void clear(fd_set *set, int fd) {
  if (set) FD_CLR(fd, set);
}

/* How many sets have `fd`, after those for which nothing has come are without it. */
static int report(const struct pollfd *entry, fd_set *reads, fd_set *writes, fd_set *excepts) {
  int found = 0, fd = entry->fd;
  if (!(entry->revents & (POLLIN | POLLHUP | POLLERR))) clear(reads, fd);
  if (!(entry->revents & (POLLOUT | POLLERR))) clear(writes, fd);
  if (!(entry->revents & POLLPRI)) clear(excepts, fd);
  found += member(reads, fd);
  found += member(writes, fd);
  return found + member(excepts, fd);
}

static int wait_for_sets(int count, fd_set *reads, fd_set *writes, fd_set *excepts, int timeout) {
  if (count < 0 || count > FD_SETSIZE) return -EINVAL;
  struct pollfd entries[FD_SETSIZE];
  int used = 0;
  for (int fd = 0; fd < count; fd++) {
    short events = 0;
    if (member(reads, fd)) events |= POLLIN;
    if (member(writes, fd)) events |= POLLOUT;
    if (member(excepts, fd)) events |= POLLPRI;
    if (events) entries[used++] = (struct pollfd){.fd = fd, .events = events};
  }
  int result = WEBTUN_WAIT(webtun_poll(entries, used, timeout));
  if (result < 0) return result;
  for (int i = 0; i < used; i++)
    if (entries[i].revents & POLLNVAL) return -EBADF;
  int found = 0;
  for (int i = 0; i < used; i++) found += report(&entries[i], reads, writes, excepts);
  return found;
}

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
           struct timeval *restrict timeout) {
  if (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)) return webtun_result(-EINVAL);
  int limit = timeout ? milliseconds(timeout->tv_sec, timeout->tv_usec * 1000L) : -1;
  return webtun_result(wait_for_sets(count, reads, writes, excepts, limit));
}

int pselect(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
            const struct timespec *restrict timeout, const sigset_t *restrict mask) {
  (void)mask;
  if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0)) return webtun_result(-EINVAL);
  int limit = timeout ? milliseconds(timeout->tv_sec, timeout->tv_nsec) : -1;
  return webtun_result(wait_for_sets(count, reads, writes, excepts, limit));
}

int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  unsigned long argument = command == F_GETFL || command == F_GETFD ? 0 : va_arg(arguments, unsigned long);
  va_end(arguments);
  int result = webtun_fcntl(fd, command, argument);
  if (result != -ENOTSOCK) return webtun_result(result);
  return webtun_result(__syscall_fcntl64(fd, command, argument));
}

int ioctl(int fd, int request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  int result = webtun_ioctl(fd, request, argument);
  return webtun_result(result != -ENOTSOCK ? result : __syscall_ioctl(fd, request, argument));
}

int dup(int fd) {
  int result = webtun_dup(fd, -1);
  return webtun_result(result != -ENOTSOCK ? result : __syscall_dup(fd));
}

int dup3(int fd, int to, int flags) {
  if (fd == to || (flags & ~O_CLOEXEC)) return webtun_result(-EINVAL);
  if (to < 0) return webtun_result(-EBADF);
  int result = webtun_dup(fd, to);
  return webtun_result(result != -ENOTSOCK ? result : __syscall_dup3(fd, to, 0));
}

int dup2(int fd, int to) {
  if (fd == to) return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
  return dup3(fd, to, 0);
}

/* What read(), readv() and all of <stdio.h> end in. Emscripten's own take the place of libc's, ours that of both. */
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_read"))) __wasi_errno_t webtun_file_read(
    __wasi_fd_t fd, const __wasi_iovec_t *vectors, size_t count, __wasi_size_t *got);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) __wasi_errno_t webtun_file_write(
    __wasi_fd_t fd, const __wasi_ciovec_t *vectors, size_t count, __wasi_size_t *put);

/* The result of a call in the form of WASI. */
static __wasi_errno_t wasi_result(int result, __wasi_size_t *length) {
  if (result < 0) return -result;
  *length = result;
  return 0;
}

__wasi_errno_t __wasi_fd_read(__wasi_fd_t fd, const __wasi_iovec_t *vectors, size_t count, __wasi_size_t *got) {
  if (count > IOV_MAX) return EINVAL;
  int result = WEBTUN_WAIT(webtun_receive(fd, (const struct iovec *)vectors, count, 0, NULL, NULL, NULL));
  return result == -ENOTSOCK ? webtun_file_read(fd, vectors, count, got) : wasi_result(result, got);
}

__wasi_errno_t __wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *vectors, size_t count, __wasi_size_t *put) {
  if (count > IOV_MAX) return EINVAL;
  int result = WEBTUN_WAIT(webtun_send(fd, (const struct iovec *)vectors, count, 0, NULL, 0));
  return result == -ENOTSOCK ? webtun_file_write(fd, vectors, count, put) : wasi_result(result, put);
}
