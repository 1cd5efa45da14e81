/* How the threads of a program wait: each sleeps by itself, for one word that changes with everything. */
#include "webtun.h"

#ifdef __EMSCRIPTEN_PTHREADS__
#include <emscripten/threading.h>

int webtun_resume(int ticket);
int webtun_limit(int ticket);
int webtun_useWord(_Atomic int *word);

/* Milliseconds for which the first thread sleeps at most: the others' calls are carried out by it. */
enum { SLICE = 2 };

static _Atomic int changes;

__attribute__((constructor)) static void tell_where(void) { webtun_useWord(&changes); }

int webtun_changes(void) { return changes; }

static void sleep_for(int seen, int milliseconds) {
  if (!emscripten_is_main_runtime_thread()) {
    emscripten_futex_wait(&changes, seen, milliseconds);
    return;
  }
  emscripten_futex_wait(&changes, seen, milliseconds < SLICE ? milliseconds : SLICE);
  emscripten_main_thread_process_queued_calls();
}

/* The result of a call that was told to wait, as `webtun_changes` was `seen` before it. */
int webtun_wait(int ticket, int seen) {
  int result;
  do {
    sleep_for(seen, webtun_limit(ticket));
    seen = webtun_changes();
    result = webtun_resume(ticket);
  } while (result == ticket);
  return result;
}
#endif
