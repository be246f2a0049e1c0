/*
 * reader.h - the second storage thread: reads, so that the loop never waits.
 *
 * A job is a structure of the caller's with a mp_read first; work runs in the
 * reader's thread with its connection, done on the loop afterwards.  Jobs are
 * done in the order in which they were given.  While a job is with the
 * reader its memory, and whatever work touches, is the reader's.
 *
 * A read sees what is committed at its beginning, not what gathers.
 *
 * Process  host only.   Thread  loop thread; the reader thread is inside.
 * Memory   jobs are linked, not owned.
 * Errors   rc of done: 0 or what work returned; MP_EIO too when the database
 *          is not open or the reader ends.
 */
#ifndef MP_READER_H
#define MP_READER_H

#include <pthread.h>
#include <uv.h>

#include "core/base/list.h"
#include "core/store.h"

struct mp_read {
    struct mp_link link;
    int (*work)(struct mp_read *r, struct mp_db *db, struct mp_why *why);
    void (*done)(struct mp_read *r, int rc, const struct mp_why *why);
    int rc;
    struct mp_why why;
};

struct mp_reader_thread {
    uv_loop_t *loop;
    const char *data;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct mp_link todo, finished;
    bool ending, reopen, closed;
    uv_async_t some_done;
};

void mp_reader_open(struct mp_reader_thread *r, uv_loop_t *loop,
                    const char *data);
/* The database was closed or replaced: the next job opens it anew. */
void mp_reader_reopen(struct mp_reader_thread *r);
void mp_reader_do(struct mp_reader_thread *r, struct mp_read *job);
/* Calls done (MP_EIO) for what is left, ends the thread.  A job that is given
 * from there fails as well: don't give the same again and again. */
void mp_reader_close(struct mp_reader_thread *r);

#endif
