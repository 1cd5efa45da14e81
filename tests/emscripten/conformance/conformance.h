/* Each part prints lines that are the same on Linux and under webtun; the scenario program-conformance compares them. */
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void streams(void);
void connecting(void);
void waiting(void);
void multiplexing(void);
void datagrams(void);
void echoes(void);
void options(void);
void descriptors(void);
void names(void);

/* "ok", a number, or the name of errno. Numbers of errno differ between the two systems, names do not. */
const char *outcome(long result);
const char *error_name(int error);

/* A loopback address with that port, in the order of the host. */
struct sockaddr_in loopback(int port);
int port_of(int fd);
int tcp_listener(int backlog);
/* A connected pair of TCP sockets by way of loopback. */
void tcp_pair(int *client, int *server);
int udp_socket(void);
int set_flag(int fd, int level, int name, int value);
int get_number(int fd, int level, int name);
long now_ms(void);
void settle(void);
/* Polls until one of `events` has come, for at most three seconds; gives all that has. */
short await_events(int fd, short wanted, short events);
