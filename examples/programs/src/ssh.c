/* A session by libssh2: `ssh HOST PORT USER PRIVATE PUBLIC FINGERPRINT [COMMAND]`. PRIVATE is a key in PEM, PUBLIC the line
 * that belongs to it, FINGERPRINT what `ssh-keygen -lf` tells of the server's key. Without a command a shell is asked for,
 * on a terminal, that is told a few lines. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libssh2.h>

static LIBSSH2_SESSION *session;

static void fail(const char *what) {
  char *message = "";
  if (session) libssh2_session_last_error(session, &message, NULL, 0);
  printf("%s: %s\n", what, message);
  exit(1);
}

/* libssh2 1.10.0 leaves the octet behind a key in memory as malloc() gives it, and Mbed TLS wants a zero there. */
static void *zeroed(size_t size, void **context) { return calloc(1, size); }
static void *resized(void *memory, size_t size, void **context) { return realloc(memory, size); }
static void released(void *memory, void **context) { free(memory); }

static int reach(const char *host, const char *port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
  int failed = getaddrinfo(host, port, &hints, &all);
  if (failed) {
    puts(gai_strerror(failed));
    exit(1);
  }
  for (struct addrinfo *each = all; each; each = each->ai_next) {
    int fd = socket(each->ai_family, SOCK_STREAM, 0);
    if (connect(fd, each->ai_addr, each->ai_addrlen) == 0) return fd;
    close(fd);
  }
  perror("connect");
  exit(1);
}

/* SHA-256 in base64, as OpenSSH writes it. */
static int is_known(const char *fingerprint) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *hash = libssh2_hostkey_hash(session, LIBSSH2_HOSTKEY_HASH_SHA256);
  char text[44] = {0};
  for (int digit = 0; hash && digit < 43; digit++) {
    int bit = 6 * digit, at = bit / 8;
    unsigned pair = (unsigned char)hash[at] << 8 | (at < 31 ? (unsigned char)hash[at + 1] : 0);
    text[digit] = digits[pair >> (10 - bit % 8) & 63];
  }
  if (!strncmp(fingerprint, "SHA256:", 7)) fingerprint += 7;
  return !strcmp(text, fingerprint);
}

static void print_all(LIBSSH2_CHANNEL *channel) {
  static char data[32768];
  for (;;) {
    ssize_t got = libssh2_channel_read(channel, data, sizeof data);
    if (got < 0) fail("read");
    if (got == 0 && libssh2_channel_eof(channel)) return;
    fwrite(data, 1, got, stdout);
  }
}

static void write_all(LIBSSH2_CHANNEL *channel, const char *text) {
  for (size_t left = strlen(text); left > 0;) {
    ssize_t written = libssh2_channel_write(channel, text, left);
    if (written < 0) fail("write");
    text += written;
    left -= written;
  }
}

int main(int count, char **args) {
  if (count < 7) return 2;
  int fd = reach(args[1], args[2]);
  libssh2_init(0);
  session = libssh2_session_init_ex(zeroed, released, resized, NULL);
  if (libssh2_session_handshake(session, fd)) fail("handshake");
  if (!is_known(args[6])) {
    puts("the server has another key");
    return 1;
  }
  const char *user = args[3], *private = args[4], *public = args[5];
  if (libssh2_userauth_publickey_frommemory(session, user, strlen(user), public, strlen(public), private,
                                            strlen(private), NULL))
    fail("login");
  LIBSSH2_CHANNEL *channel = libssh2_channel_open_session(session);
  if (!channel) fail("channel");
  if (count > 7) {
    if (libssh2_channel_exec(channel, args[7])) fail("exec");
  } else {
    if (libssh2_channel_request_pty(channel, "dumb")) fail("terminal");
    if (libssh2_channel_shell(channel)) fail("shell");
    write_all(channel, "PS1=; stty -echo; tty; stty size; exit 7\n");
  }
  print_all(channel);
  libssh2_channel_close(channel);
  printf("exit status %d\n", libssh2_channel_get_exit_status(channel));
  libssh2_channel_free(channel);
  libssh2_session_disconnect(session, "done");
  libssh2_session_free(session);
  close(fd);
  return 0;
}
