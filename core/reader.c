/*
 * reader.c - two lists and a thread between them.
 *
 * The thread takes the first of `todo`, works, and puts it to the end of
 * `finished`; the loop empties that.  The connection is opened by the first
 * job that needs it, and anew when the writer has opened another file.
 */
#include "core/reader.h"

#include <signal.h>
#include <stdlib.h>

/* ---- the reader's thread ---- */

static void work(struct mp_read *job, struct mp_db **db, const char *data)
{
    job->rc = 0;
    if (!*db)
        job->rc = mp_db_open_reader(db, data, &job->why);
    if (job->rc)
        return;
    job->rc = job->work(job, *db, &job->why);
    /* What is left open would hold the WAL for ever. */
    MP_ASSERT(mp_db_is_idle(*db));
    if (job->rc == MP_EIO) { /* whatever it is, the next begins anew */
        mp_db_close(*db);
        *db = NULL;
    }
}

static void *serve(void *arg)
{
    struct mp_reader_thread *r = arg;
    struct mp_db *db = NULL;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct mp_link *first;
        bool reopen;

        while (!r->ending && !r->reopen && mp_list_empty(&r->todo))
            pthread_cond_wait(&r->wake, &r->lock);
        if (r->ending)
            break;
        reopen = r->reopen;
        r->reopen = false;
        first = mp_list_empty(&r->todo) ? NULL : r->todo.next;
        if (first)
            mp_list_unlink(first);
        pthread_mutex_unlock(&r->lock);
        if (reopen) {
            mp_db_close(db);
            db = NULL;
        }
        if (first)
            work(mp_of(first, struct mp_read, link), &db, r->data);
        pthread_mutex_lock(&r->lock);
        if (first)
            mp_list_append(&r->finished, first);
        uv_async_send(&r->some_done);
    }
    pthread_mutex_unlock(&r->lock);
    mp_db_close(db);
    return NULL;
}

/* ---- the loop's side ---- */

/* Move what one list holds to the other, which is empty. */
static void move(struct mp_link *from, struct mp_link *to)
{
    mp_list_init(to);
    while (!mp_list_empty(from)) {
        struct mp_link *first = from->next;

        mp_list_unlink(first);
        mp_list_append(to, first);
    }
}

/* What is given meanwhile is for the next time. */
static void call_finished(struct mp_reader_thread *r)
{
    struct mp_link done;

    pthread_mutex_lock(&r->lock);
    move(&r->finished, &done);
    pthread_mutex_unlock(&r->lock);
    while (!mp_list_empty(&done)) {
        struct mp_read *job = mp_of(done.next, struct mp_read, link);
        struct mp_why why = job->why; /* done may free the job */

        mp_list_unlink(&job->link);
        job->done(job, job->rc, &why);
    }
}

static void on_some_done(uv_async_t *async)
{
    call_finished(async->data);
}

void mp_reader_open(struct mp_reader_thread *r, uv_loop_t *loop,
                    const char *data)
{
    sigset_t all, before;

    *r = (struct mp_reader_thread){.loop = loop, .data = data};
    mp_list_init(&r->todo);
    mp_list_init(&r->finished);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    MP_ASSERT(uv_async_init(loop, &r->some_done, on_some_done) == 0);
    r->some_done.data = r;
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    MP_ASSERT(pthread_create(&r->thread, NULL, serve, r) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void mp_reader_reopen(struct mp_reader_thread *r)
{
    pthread_mutex_lock(&r->lock);
    r->reopen = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void mp_reader_do(struct mp_reader_thread *r, struct mp_read *job)
{
    job->why.text[0] = '\0';
    if (r->closed) { /* somebody was told of the last commit */
        mp_why_set(&job->why, MP_EIO, "the database is closed");
        job->done(job, MP_EIO, &job->why);
        return;
    }
    pthread_mutex_lock(&r->lock);
    mp_list_append(&r->todo, &job->link);
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

/* Nobody works any more: all that is left fails, what comes of that too. */
static void fail_all(struct mp_reader_thread *r)
{
    while (!mp_list_empty(&r->todo)) {
        struct mp_read *job = mp_of(r->todo.next, struct mp_read, link);
        struct mp_why why;
        int rc = mp_why_set(&why, MP_EIO, "the host ends");

        mp_list_unlink(&job->link);
        job->done(job, rc, &why);
    }
}

void mp_reader_close(struct mp_reader_thread *r)
{
    pthread_mutex_lock(&r->lock);
    r->ending = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    call_finished(r);
    fail_all(r);
    r->closed = true;
    uv_close((uv_handle_t *)&r->some_done, NULL);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
}
