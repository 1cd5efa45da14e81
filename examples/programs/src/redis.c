/* A Redis client by hiredis: `redis HOST PORT COMMAND [ARGUMENT ...]` prints the reply. `redis HOST PORT` sets, gets, sends
 * many commands at once, and waits for a message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hiredis.h"

enum { LARGE = 1 << 20, COMMANDS = 2000 };

static int port;
static const char *host;

static redisContext *dial(void) {
  redisContext *context = redisConnect(host, port);
  if (context && !context->err) return context;
  printf("connect: %s\n", context ? context->errstr : "no memory");
  exit(1);
}

/* The reply, where it is of this type; the program ends where it is not. */
static redisReply *expect(redisContext *context, redisReply *reply, int type, const char *what) {
  if (reply && reply->type == type) return reply;
  printf("%s: %s\n", what, reply ? reply->str ? reply->str : "another type" : context->errstr);
  exit(1);
}

static void values(redisContext *context) {
  char *data = malloc(LARGE);
  for (int i = 0; i < LARGE; i++) data[i] = i * 7;
  freeReplyObject(expect(context, redisCommand(context, "SET large %b", data, (size_t)LARGE), REDIS_REPLY_STATUS, "SET"));
  redisReply *reply = expect(context, redisCommand(context, "GET large"), REDIS_REPLY_STRING, "GET");
  printf("large: %s\n", reply->len == LARGE && !memcmp(reply->str, data, LARGE) ? "as it was" : "changed");
  freeReplyObject(reply);
  free(data);
  freeReplyObject(expect(context, redisCommand(context, "NONSENSE"), REDIS_REPLY_ERROR, "an error"));
}

static void pipeline(redisContext *context) {
  redisReply *reply = NULL;
  for (int i = 0; i < COMMANDS; i++) redisAppendCommand(context, "INCR counter");
  for (int i = 0; i < COMMANDS; i++) {
    if (reply) freeReplyObject(reply);
    if (redisGetReply(context, (void **)&reply) != REDIS_OK) exit(1);
  }
  printf("counter: %lld\n", expect(context, reply, REDIS_REPLY_INTEGER, "INCR")->integer);
  freeReplyObject(reply);
}

static void message(redisContext *context) {
  redisContext *other = dial();
  redisReply *reply = NULL;
  freeReplyObject(expect(other, redisCommand(other, "SUBSCRIBE news"), REDIS_REPLY_ARRAY, "SUBSCRIBE"));
  freeReplyObject(expect(context, redisCommand(context, "PUBLISH news hello"), REDIS_REPLY_INTEGER, "PUBLISH"));
  if (redisGetReply(other, (void **)&reply) != REDIS_OK) exit(1);
  printf("message: %s\n", expect(other, reply, REDIS_REPLY_ARRAY, "a message")->element[2]->str);
  freeReplyObject(reply);
  /* Nothing else comes: the time limit of a blocking read. */
  redisSetTimeout(other, (struct timeval){.tv_usec = 100000});
  printf("nothing: %s\n", redisGetReply(other, (void **)&reply) == REDIS_ERR ? other->errstr : "something");
  redisFree(other);
}

static void print(const redisReply *reply) {
  if (reply->type == REDIS_REPLY_INTEGER) printf("%lld\n", reply->integer);
  else if (reply->type != REDIS_REPLY_ARRAY) puts(reply->str ? reply->str : "(nil)");
  else
    for (size_t i = 0; i < reply->elements; i++) print(reply->element[i]);
}

static int command(redisContext *context, int count, const char **words) {
  redisReply *reply = redisCommandArgv(context, count, words, NULL);
  if (reply) print(reply);
  else puts(context->errstr);
  return reply && reply->type != REDIS_REPLY_ERROR ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  host = argv[1];
  port = atoi(argv[2]);
  redisContext *context = dial();
  if (argc > 3) return command(context, argc - 3, (const char **)argv + 3);
  freeReplyObject(expect(context, redisCommand(context, "FLUSHALL"), REDIS_REPLY_STATUS, "FLUSHALL"));
  values(context);
  pipeline(context);
  message(context);
  redisFree(context);
  return 0;
}
