/*
 * admin.c - each request is a job of its own, so that one whose client went
 * away just goes on.
 *
 *   drop     change the mirrors, wait for the ticket
 *   replay   read a page of letters; enqueue each and drop it in the same
 *            transaction; the next page; wait for the last ticket
 *   state    an edit of state.c, which waits itself
 *
 * Letters that a replay makes anew, because the function still fails, have
 * higher ids than those it began with: it ends.
 */
#include "core/admin.h"

#include <stdlib.h>

#include "core/outputs.h"
#include "core/request.h"

enum {
    /* Letters of one read; more at once only hold the loop up. */
    REPLAY_PAGE = 64,
    REPLAY_BYTES = 16 << 20,
};

struct job {
    struct mp_admin *a; /* NULL: nobody waits for it any more */
    struct mp_host *h;
    struct mp_commit_wait wait;
    struct mp_state_edit edit;
    struct mp_admin_read read;
    /* replay */
    int64_t id, after, upto;
    struct mp_buf letters; /* n of: id, outcome, function, event */
    unsigned n;
    bool all;
    int rc; /* why not all of them */
    struct mp_why why;
    uint64_t count, quota;
    char fn[MP_NAME_MAX + 1];
};

static struct job *job_new(struct mp_host *h, struct mp_slice fn,
                           struct mp_admin *a)
{
    struct job *j = mp_zalloc(sizeof *j);

    j->a = a;
    j->h = h;
    memcpy(j->fn, fn.ptr ? fn.ptr : "",
           fn.len < MP_NAME_MAX ? fn.len : MP_NAME_MAX);
    mp_buf_init(&j->letters, REPLAY_BYTES + MP_FRAME_MAX);
    a->job = j;
    a->count = 0;
    return j;
}

static void job_end(struct job *j, int rc, const struct mp_why *why)
{
    struct mp_admin *a = j->a;
    uint64_t count = j->count;

    mp_buf_fini(&j->letters);
    free(j);
    if (!a)
        return;
    a->job = NULL;
    a->count = count;
    a->done(a, rc, why);
}

void mp_admin_forget(struct mp_admin *a)
{
    if (a->job)
        ((struct job *)a->job)->a = NULL;
    a->job = NULL;
}

/* ---- durable ---- */

static int not_open(struct mp_host *h, struct mp_why *why)
{
    return mp_why_set(why, MP_EIO, "the store is not open: %s",
                      h->commit.failure ? h->commit.failure : "it starts");
}

static void on_durable(struct mp_commit_wait *w, int rc)
{
    struct job *j = mp_of(w, struct job, wait);

    if (rc)
        j->rc = mp_why_set(&j->why, MP_EIO,
                           "the store has failed, so nothing was changed");
    job_end(j, j->rc, &j->why);
}

/* Its end, when the ticket is durable. */
static void job_wait(struct job *j, uint64_t ticket)
{
    mp_commit_wait(&j->h->commit, &j->wait, ticket, on_durable);
}

static bool begin(struct job *j)
{
    struct mp_why why;

    if (j->h->loaded && !j->h->commit.failure)
        return true;
    job_end(j, not_open(j->h, &why), &why);
    return false;
}

static void on_settled(struct mp_commit_wait *w, int rc)
{
    struct mp_admin_read *job = mp_of(w, struct mp_admin_read, wait);

    (void)rc; /* the read tells what is there */
    mp_reader_do(job->reader, &job->read);
}

void mp_admin_read(struct mp_host *h, struct mp_admin_read *job)
{
    struct mp_commit *c = &h->commit;
    uint64_t ticket = c->wanted ? c->ticket : c->ticket - 1;

    job->reader = &h->reader;
    if (c->failure || mp_commit_is_durable(c, ticket))
        mp_reader_do(job->reader, &job->read);
    else
        mp_commit_wait(c, &job->wait, ticket, on_settled);
}

/* ---- drop ---- */

static void none(struct job *j, const char *what, int64_t id)
{
    struct mp_why why;

    job_end(
        j,
        mp_why_set(&why, MP_ENONE, "there is no %s %lld", what, (long long)id),
        &why);
}

void mp_admin_dead_drop(struct mp_host *h, struct mp_slice fn, int64_t id,
                        struct mp_admin *a)
{
    struct job *j = job_new(h, fn, a);

    if (!begin(j))
        return;
    j->count = id ? mp_dead_drop(&h->dead, id) : mp_dead_drop_all(&h->dead, fn);
    if (j->count)
        job_wait(j, mp_commit_ticket(&h->commit));
    else if (id)
        none(j, "dead letter", id);
    else
        job_end(j, 0, NULL);
}

void mp_admin_queue_drop(struct mp_host *h, struct mp_slice fn, int64_t id,
                         struct mp_admin *a)
{
    struct job *j = job_new(h, fn, a);
    uint64_t ticket = 0, one = 0;

    if (!begin(j))
        return;
    if (id || fn.len) {
        j->count = mp_host_drop_rows(h, fn, id, &ticket);
    } else {
        mp_list_each (at, &h->queue.fns) {
            struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

            one = 0;
            j->count += mp_host_drop_rows(h, mp_slice_str(f->name), 0, &one);
            ticket = one > ticket ? one : ticket;
        }
    }
    if (j->count)
        job_wait(j, ticket);
    else if (id)
        none(j, "waiting event", id);
    else
        job_end(j, 0, NULL);
}

/* ---- state ---- */

struct mp_state_fn *mp_admin_state(struct mp_host *h, struct mp_slice fn,
                                   struct mp_why *why)
{
    struct mp_slot *slot = mp_host_slot(h, fn);

    if (slot && slot->live && !slot->live->fn->has_state) {
        mp_why_set(why, MP_EDENY,
                   "'%.*s' has no [state] section in its function.conf",
                   MP_FMT(fn));
        return NULL;
    }
    if (slot)
        return mp_states_fn(&h->states, fn);
    /* The function is gone, and its state may still be here. */
    mp_list_each (at, &h->states.fns) {
        struct mp_state_fn *f = mp_of(at, struct mp_state_fn, link);

        if (mp_slice_is(fn, f->name))
            return f;
    }
    mp_why_set(why, MP_ENONE, "there is no function '%.*s'", MP_FMT(fn));
    return NULL;
}

static void on_edited(struct mp_state_edit *e, int rc)
{
    struct job *j = mp_of(e, struct job, edit);
    struct mp_why why = {""};

    if (rc == MP_EFULL)
        mp_why_set(&why, rc,
                   "the state of '%s' would be past its quota of %llu bytes",
                   j->fn, (unsigned long long)j->quota);
    else if (rc)
        rc = mp_why_set(&why, MP_EIO,
                        "the store has failed, so nothing was changed");
    j->count = !rc;
    job_end(j, rc, &why);
}

void mp_admin_state_put(struct mp_host *h, struct mp_slice fn,
                        struct mp_slice key, struct mp_slice name,
                        const struct mp_value *value, struct mp_admin *a)
{
    struct job *j = job_new(h, fn, a);
    struct mp_state_fn *f;
    struct mp_why why;
    int rc;

    if (!begin(j))
        return;
    rc = mp_request_check_value(key, name, value, &why);
    if (rc) {
        job_end(j, rc, &why);
        return;
    }
    f = mp_admin_state(h, fn, &why);
    if (!f) {
        job_end(j, mp_host_slot(h, fn) ? MP_EDENY : MP_ENONE, &why);
        return;
    }
    j->quota = f->quota;
    j->edit.done = on_edited;
    mp_state_edit(&h->states, f, key, name, value, &j->edit);
}

/* ---- replay ---- */

static void put_letter(struct job *j, int64_t id, struct mp_query *q, int shift)
{
    /* as MP_SQL_DEAD_LIST has them; MP_SQL_DEAD_GET one earlier */
    mp_put_u64(&j->letters, (uint64_t)id);
    mp_put_slice(&j->letters, mp_column_bytes(q, 4 - shift));
    mp_put_slice(&j->letters, mp_column_bytes(q, 8 - shift));
    mp_put_slice(&j->letters, mp_column_bytes(q, 7 - shift));
    j->n++;
}

static int find_one(struct job *j, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_DEAD_GET);
    int rc;

    mp_query_int(q, j->id);
    rc = mp_query_step(q, why);
    if (rc == 1)
        put_letter(j, j->id, q, 1);
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

/* In the reader's thread. */
static int find(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    struct job *j = mp_of(r, struct job, read.read);
    struct mp_query *q;
    int rc;

    mp_buf_reset(&j->letters);
    j->n = 0;
    if (!j->all)
        return find_one(j, db, why);
    q = mp_query_begin(db, MP_SQL_DEAD_LIST);
    if (j->fn[0])
        mp_query_text(q, mp_slice_str(j->fn));
    else
        mp_query_null(q);
    mp_query_int(q, j->after);
    mp_query_int(q, REPLAY_PAGE);
    while ((rc = mp_query_step(q, why)) == 1 &&
           mp_column_int(q, 0) <= j->upto && j->letters.len < REPLAY_BYTES) {
        j->after = mp_column_int(q, 0);
        put_letter(j, j->after, q, 0);
    }
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

/* A message that the broker refused. */
static void publish_again(struct mp_host *h, struct mp_slot *slot,
                          const struct mp_event *e)
{
    struct mp_effect effect = {
        .kind = MP_EFFECT_PUBLISH,
        .topic = e->topic,
        .data = e->data,
        .qos = e->qos,
        .retain = e->retained,
    };

    (void)mp_outbox_add(&h->outbox,
                        mp_output_new(&effect, e->id, e->traceparent),
                        mp_slice_str(slot->name), &slot->metrics.flash);
}

/* Another client may have replayed or dropped it since it was read: then it
 * is not there any more, and ours must not be either. */
static int enqueue(struct job *j, struct mp_slice fn, int64_t id,
                   const struct mp_event *e, struct mp_why *why)
{
    uint64_t ticket = 0;
    int64_t row = mp_host_enqueue(j->h, fn, e, "replay", 0, NULL, &ticket);

    if (row < 0)
        return mp_why_set(why, (int)row,
                          "no room for dead letter %lld: the queue is full "
                          "([store] queue)",
                          (long long)id);
    if (mp_dead_drop(&j->h->dead, id))
        j->count++;
    else
        mp_host_drop_rows(j->h, fn, row, &ticket);
    return 0;
}

static int replay_one(struct job *j, struct mp_reader *r, struct mp_why *why)
{
    struct mp_pair pairs[2 * MP_PAIRS_MAX];
    int64_t id = (int64_t)mp_get_u64(r);
    struct mp_slice outcome = mp_get_slice(r), fn = mp_get_slice(r);
    struct mp_reader bytes = mp_reader(mp_get_slice(r));
    struct mp_slot *slot = mp_host_slot(j->h, fn);
    struct mp_event e;

    MP_ASSERT(!r->bad);
    mp_get_event(&bytes, &e, pairs);
    if (bytes.bad)
        return mp_why_set(why, MP_EIO, "dead letter %lld can't be read",
                          (long long)id);
    if (!slot)
        return mp_why_set(why, MP_ENONE,
                          "there is no function '%.*s' now, which dead letter "
                          "%lld is for",
                          MP_FMT(fn), (long long)id);
    e.attempt = 1;
    if (!mp_slice_is(outcome, mp_dead_name(MP_DEAD_OUTPUT)))
        return enqueue(j, fn, id, &e, why);
    if (mp_dead_drop(&j->h->dead, id)) {
        publish_again(j->h, slot, &e);
        j->count++;
    }
    return 0;
}

static void on_found(struct mp_read *read, int rc, const struct mp_why *failed)
{
    struct job *j = mp_of(read, struct job, read.read);
    struct mp_reader r = mp_reader(mp_buf_bytes(&j->letters));
    struct mp_why why;

    if (rc) {
        job_end(j, rc, failed);
        return;
    }
    if (!begin(j))
        return;
    for (unsigned i = 0; i < j->n && j->rc != MP_EFULL; i++) {
        rc = replay_one(j, &r, &why);
        if (rc && !j->rc) { /* the first reason is told */
            j->rc = rc;
            j->why = why;
        }
    }
    if (j->all && j->n && j->rc != MP_EFULL)
        mp_admin_read(j->h, &j->read);
    else if (j->count)
        job_wait(j, mp_commit_ticket(&j->h->commit));
    else if (!j->all && !j->n)
        none(j, "dead letter", j->id);
    else
        job_end(j, j->rc, &j->why);
}

void mp_admin_dead_replay(struct mp_host *h, struct mp_slice fn, int64_t id,
                          struct mp_admin *a)
{
    struct job *j = job_new(h, fn, a);

    if (!begin(j))
        return;
    mp_dead_flush(&h->dead); /* last ones of a group may be in memory only */
    j->id = id;
    j->all = id == 0;
    j->upto = h->dead.next_id - 1;
    j->read.read.work = find;
    j->read.read.done = on_found;
    mp_admin_read(h, &j->read);
}
