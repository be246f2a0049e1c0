/*
 * watch.h - `run --watch`: what is saved is checked, tested, live.
 *
 * A change in a function's directory runs its tests (moonpool test, in a
 * process of its own); if they pass the functions are read again, and if not
 * the old version stays and the tests' output is shown.
 *
 * Process  moonpool-host.   Thread  loop thread.
 * Errors   a directory that can't be watched is said in the log.
 */
#ifndef MP_CLI_WATCH_H
#define MP_CLI_WATCH_H

#include <stdbool.h>
#include <uv.h>

/* rescan: read the functions again. */
void mp_watch_open(uv_loop_t *loop, const char *functions,
                   void (*rescan)(void));
void mp_watch_close(void);

/*
 * Test what failed again, then rescan.  False: nothing failed, and nothing
 * will happen.
 */
bool mp_watch_again(void);

/* Do the tests of the directory fail as it is now?  (For the catalog.) */
bool mp_watch_holds(const char *path);

#endif
