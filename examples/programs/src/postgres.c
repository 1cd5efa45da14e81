/* A PostgreSQL client by libpq: `postgres HOST PORT PASSWORD QUERY` prints the answer. Without a query it tries what libpq
 * can do. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpq-fe.h"

enum { ROWS = 20000, LARGE = 1 << 20, QUERIES = 500 };

static const char *host, *port, *password;

static void fail(const char *what, const char *message) {
  printf("%s: %s\n", what, message);
  exit(1);
}

static PGconn *connect_as(const char *secret) {
  const char *names[] = {"host", "port", "user", "password", "dbname", "connect_timeout", NULL};
  const char *values[] = {host, port, "postgres", secret, "postgres", "20", NULL};
  return PQconnectdbParams(names, values, 0);
}

static PGconn *open_session(void) {
  PGconn *session = connect_as(password);
  if (PQstatus(session) != CONNECTION_OK) fail("connect", PQerrorMessage(session));
  return session;
}

static PGresult *expect(PGconn *session, PGresult *result, ExecStatusType status) {
  if (PQresultStatus(result) != status) fail("query", PQerrorMessage(session));
  return result;
}

static void run(PGconn *session, const char *query) { PQclear(expect(session, PQexec(session, query), PGRES_COMMAND_OK)); }

static void refused(void) {
  PGconn *session = connect_as("wrong");
  printf("a wrong password: %d\n", strstr(PQerrorMessage(session), "password authentication failed") != NULL);
  PQfinish(session);
}

static void copy(PGconn *session) {
  run(session, "CREATE TEMP TABLE numbers (number int, text text)");
  PQclear(expect(session, PQexec(session, "COPY numbers FROM STDIN"), PGRES_COPY_IN));
  for (int i = 0; i < ROWS; i++) {
    char line[64];
    int length = snprintf(line, sizeof line, "%d\tnumber %d\n", i, i);
    if (PQputCopyData(session, line, length) != 1) fail("copy", PQerrorMessage(session));
  }
  if (PQputCopyEnd(session, NULL) != 1) fail("copy", PQerrorMessage(session));
  PQclear(expect(session, PQgetResult(session), PGRES_COMMAND_OK));
  PQclear(PQgetResult(session));
  PGresult *sum = expect(session, PQexec(session, "SELECT count(*), sum(number) FROM numbers"), PGRES_TUPLES_OK);
  printf("copied: %s rows, sum %s\n", PQgetvalue(sum, 0, 0), PQgetvalue(sum, 0, 1));
  PQclear(sum);
}

static void rows(PGconn *session) {
  long sum = 0, count = 0;
  PQsendQuery(session, "SELECT number FROM numbers");
  PQsetSingleRowMode(session);
  for (PGresult *row; (row = PQgetResult(session)); PQclear(row))
    for (int i = 0; i < PQntuples(row); i++, count++) sum += atoi(PQgetvalue(row, i, 0));
  printf("one by one: %ld rows, sum %ld\n", count, sum);
}

static void large(PGconn *session) {
  char *text = malloc(LARGE + 1);
  for (int i = 0; i < LARGE; i++) text[i] = 'a' + i % 26;
  text[LARGE] = 0;
  const char *values[] = {text};
  PGresult *back = PQexecParams(session, "SELECT $1::text", 1, NULL, values, NULL, NULL, 0);
  expect(session, back, PGRES_TUPLES_OK);
  printf("large: %s\n", strcmp(PQgetvalue(back, 0, 0), text) ? "another" : "as it was");
  PQclear(back);
  free(text);
}

static void pipeline(PGconn *session) {
  int answers = 0;
  PQenterPipelineMode(session);
  for (int i = 0; i < QUERIES; i++)
    if (!PQsendQueryParams(session, "SELECT 1", 0, NULL, NULL, NULL, NULL, 0)) fail("pipeline", PQerrorMessage(session));
  PQpipelineSync(session);
  for (ExecStatusType status = PGRES_TUPLES_OK; status != PGRES_PIPELINE_SYNC;) {
    PGresult *answer = PQgetResult(session);
    if (!answer) continue;
    status = PQresultStatus(answer);
    answers += status == PGRES_TUPLES_OK;
    PQclear(answer);
  }
  PQexitPipelineMode(session);
  printf("at once: %d answers\n", answers);
}

/* What one session says the other hears, by poll() on the descriptor of libpq's own. */
static void notify(PGconn *session) {
  PGconn *other = open_session();
  run(session, "LISTEN channel");
  run(other, "NOTIFY channel, 'hello'");
  PGnotify *heard = NULL;
  for (int turn = 0; turn < 100 && !heard; turn++) {
    struct pollfd entry = {.fd = PQsocket(session), .events = POLLIN};
    poll(&entry, 1, 100);
    PQconsumeInput(session);
    heard = PQnotifies(session);
  }
  printf("notified: %s\n", heard ? heard->extra : "not");
  PQfreemem(heard);
  PQfinish(other);
}

/* By a connection of its own. */
static void cancel(PGconn *session) {
  PQsendQuery(session, "SELECT pg_sleep(600)");
  PGcancelConn *canceller = PQcancelCreate(session);
  if (!PQcancelBlocking(canceller)) fail("cancel", PQcancelErrorMessage(canceller));
  PQcancelFinish(canceller);
  PGresult *result = PQgetResult(session);
  printf("cancelled: %s\n", PQresultErrorField(result, PG_DIAG_SQLSTATE));
  PQclear(result);
  PQclear(PQgetResult(session));
}

static int query(PGconn *session, const char *text) {
  PQprintOpt style = {.header = 1, .align = 1, .fieldSep = "|"};
  PGresult *result = PQexec(session, text);
  int failed = PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK;
  if (failed) printf("%s", PQerrorMessage(session));
  else PQprint(stdout, result, &style);
  PQclear(result);
  PQfinish(session);
  return failed;
}

int main(int count, char **args) {
  if (count != 4 && count != 5) return 2;
  host = args[1];
  port = args[2];
  password = args[3];
  if (count == 5) return query(open_session(), args[4]);
  refused();
  PGconn *session = open_session();
  printf("by a password: %d\n", PQconnectionUsedPassword(session));
  copy(session);
  rows(session);
  large(session);
  pipeline(session);
  notify(session);
  cancel(session);
  PQfinish(session);
  return 0;
}
