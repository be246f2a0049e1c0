/*
 * admin.c - each request is a job of its own, so that one whose client went
 * away just goes on.
 *
 *   drop     change the mirrors, wait for the ticket
 *   replay   read a page of letters; enqueue each and drop it in the same
 *            transaction; the next page; wait for the last ticket
 *   state    an edit of state.c, which waits itself
 *   clear    of one actor after the other: ask for a page of names, remove
 *            each by an edit of its own, all at once; the next page
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
    /* Actors that are asked for at once when all are cleared. */
    CLEAR_ACTORS = 64,
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
    /* state */
    struct mp_state_fn *state;
    struct mp_state_ask ask;
    struct mp_buf key, name; /* of what is removed; the last one */
    struct mp_buf actors;    /* keys, to be read from at_actor on */
    struct mp_reader at_actor;
    bool more_actors, more_names; /* behind the pages that were asked for */
    unsigned edits;               /* on their way */
};

/* Of a clear: one value. */
struct removal {
    struct mp_state_edit edit;
    struct job *job;
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
    mp_buf_init(&j->key, MP_KEY_MAX);
    mp_buf_init(&j->name, MP_STATE_NAME_MAX);
    mp_buf_init(&j->actors, MP_FRAME_MAX);
    a->job = j;
    a->count = 0;
    return j;
}

static void job_end(struct job *j, int rc, const struct mp_why *reason)
{
    struct mp_why why = reason ? *reason : (struct mp_why){""}; /* j's, maybe */
    struct mp_admin *a = j->a;
    uint64_t count = j->count;

    mp_buf_fini(&j->letters);
    mp_buf_fini(&j->key);
    mp_buf_fini(&j->name);
    mp_buf_fini(&j->actors);
    free(j);
    if (!a)
        return;
    a->job = NULL;
    a->count = count;
    a->done(a, rc, &why);
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

struct mp_slot *mp_admin_slot(struct mp_host *h, struct mp_slice fn)
{
    struct mp_slot *slot = mp_host_slot(h, fn);

    return slot && !slot->gone ? slot : NULL;
}

static struct mp_state_fn *find_state(struct mp_host *h, struct mp_slice fn)
{
    mp_list_each (at, &h->states.fns) {
        struct mp_state_fn *f = mp_of(at, struct mp_state_fn, link);

        if (mp_slice_is(fn, f->name))
            return f;
    }
    return NULL;
}

struct mp_state_fn *mp_admin_state(struct mp_host *h, struct mp_slice fn,
                                   bool put, struct mp_why *why)
{
    struct mp_slot *slot = mp_admin_slot(h, fn);
    struct mp_state_fn *f = find_state(h, fn);

    if (!put && f && f->values)
        return f;
    if (!slot)
        mp_why_set(why, MP_ENONE, "there is no function '%.*s'%s", MP_FMT(fn),
                   put ? "" : ", nor state of it");
    else if (slot->live && !slot->live->fn->has_state)
        mp_why_set(why, MP_EDENY,
                   "'%.*s' has no [state] section in its function.conf",
                   MP_FMT(fn));
    else
        return mp_states_fn(&h->states, fn);
    return NULL;
}

/* False: there is none, and the job has ended. */
static bool begin_state(struct job *j, bool put)
{
    struct mp_slice fn = mp_slice_str(j->fn);
    struct mp_why why;

    if (!begin(j))
        return false;
    j->state = mp_admin_state(j->h, fn, put, &why);
    if (j->state)
        return true;
    job_end(j, mp_admin_slot(j->h, fn) ? MP_EDENY : MP_ENONE, &why);
    return false;
}

static void keep(struct mp_buf *b, struct mp_slice text)
{
    mp_buf_reset(b);
    mp_buf_slice(b, text);
}

static struct mp_slice kept(const struct mp_buf *b)
{
    return b->len ? mp_buf_bytes(b) : MP_S("");
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

static int none_there(const struct job *j, struct mp_why *why)
{
    struct mp_slice key = kept(&j->key), name = kept(&j->name);

    return mp_why_set(why, MP_ENONE, "'%s' has no value '%.*s'%s%.*s%s", j->fn,
                      MP_FMT(name), key.len ? " for the key '" : "",
                      MP_FMT(key), key.len ? "'" : "");
}

/* Is it there? */
static void on_value(struct mp_state_ask *ask, const struct mp_resume *answer)
{
    static const struct mp_value nothing = {.kind = MP_VALUE_NONE};
    struct job *j = mp_of(ask, struct job, ask);
    struct mp_why why;

    if (answer->error.len)
        job_end(j, mp_why_set(&why, MP_EIO, "%.*s", MP_FMT(answer->error)),
                &why);
    else if (!answer->n)
        job_end(j, none_there(j, &why), &why);
    else
        mp_state_edit(&j->h->states, j->state, kept(&j->key), kept(&j->name),
                      &nothing, &j->edit);
}

static void ask(struct job *j, const struct mp_wait *wait,
                void (*done)(struct mp_state_ask *ask,
                             const struct mp_resume *answer))
{
    j->ask.done = done;
    mp_state_ask(&j->h->states, j->state, NULL, wait, &j->ask);
}

void mp_admin_state_put(struct mp_host *h, struct mp_slice fn,
                        struct mp_slice key, struct mp_slice name,
                        const struct mp_value *value, struct mp_admin *a)
{
    struct job *j = job_new(h, fn, a);
    bool put = value->kind != MP_VALUE_NONE;
    struct mp_why why;
    int rc = mp_request_check_value(key, name, value, &why);

    if (rc) {
        job_end(j, rc, &why);
        return;
    }
    if (!begin_state(j, put))
        return;
    j->quota = j->state->quota;
    j->edit.done = on_edited;
    keep(&j->key, key);
    keep(&j->name, name);
    if (put)
        mp_state_edit(&h->states, j->state, key, name, value, &j->edit);
    else
        ask(j,
            &(struct mp_wait){.kind = MP_WAIT_GET,
                              .of = true,
                              .key = kept(&j->key),
                              .name = kept(&j->name),
                              .after = MP_S("")},
            on_value);
}

/* ---- clear ---- */

static void clear_actor(struct job *j);

static void on_actors(struct mp_state_ask *ask, const struct mp_resume *answer)
{
    struct job *j = mp_of(ask, struct job, ask);

    if (answer->error.len || !answer->n) {
        if (answer->error.len)
            j->rc = mp_why_set(&j->why, MP_EIO, "%.*s", MP_FMT(answer->error));
        job_end(j, j->rc, &j->why);
        return;
    }
    keep(&j->actors, answer->entries);
    j->at_actor = mp_reader(mp_buf_bytes(&j->actors));
    j->more_actors = answer->more;
    keep(&j->key, mp_get_entry(&j->at_actor).name);
    clear_actor(j);
}

/* Behind the one whose key is kept. */
static void next_actor(struct job *j)
{
    if (j->at_actor.at < j->at_actor.end) {
        keep(&j->key, mp_get_entry(&j->at_actor).name);
        clear_actor(j);
    } else if (j->all && j->more_actors) {
        ask(j,
            &(struct mp_wait){.kind = MP_WAIT_ACTORS,
                              .of = true,
                              .key = MP_S(""),
                              .name = MP_S(""),
                              .after = kept(&j->key),
                              .limit = CLEAR_ACTORS},
            on_actors);
    } else {
        job_end(j, 0, NULL);
    }
}

static void names_left(struct job *j);

static void on_removed(struct mp_state_edit *e, int rc)
{
    struct removal *r = mp_of(e, struct removal, edit);
    struct job *j = r->job;

    free(r);
    if (rc)
        j->rc = mp_why_set(&j->why, MP_EIO,
                           "the store has failed; not everything was removed");
    else
        j->count++;
    if (--j->edits == 0)
        names_left(j);
}

static void on_names(struct mp_state_ask *ask, const struct mp_resume *answer)
{
    static const struct mp_value nothing = {.kind = MP_VALUE_NONE};
    struct job *j = mp_of(ask, struct job, ask);
    struct mp_reader reader = mp_reader(answer->entries);

    if (answer->error.len)
        j->rc = mp_why_set(&j->why, MP_EIO, "%.*s", MP_FMT(answer->error));
    j->more_names = answer->more;
    j->edits = answer->n + 1; /* one is ours */
    for (uint32_t i = 0; i < answer->n; i++) {
        struct removal *r = mp_zalloc(sizeof *r);

        r->job = j;
        r->edit.done = on_removed;
        keep(&j->name, mp_get_entry(&reader).name);
        mp_state_edit(&j->h->states, j->state, kept(&j->key), kept(&j->name),
                      &nothing, &r->edit);
    }
    if (--j->edits == 0)
        names_left(j);
}

static void ask_names(struct job *j)
{
    ask(j,
        &(struct mp_wait){.kind = MP_WAIT_NAMES,
                          .of = true,
                          .key = kept(&j->key),
                          .name = MP_S(""),
                          .after = kept(&j->name)},
        on_names);
}

static void names_left(struct job *j)
{
    if (j->rc)
        job_end(j, j->rc, &j->why);
    else if (j->more_names)
        ask_names(j);
    else
        next_actor(j);
}

static void clear_actor(struct job *j)
{
    mp_buf_reset(&j->name);
    ask_names(j);
}

void mp_admin_state_clear(struct mp_host *h, struct mp_slice fn,
                          struct mp_slice key, struct mp_admin *a)
{
    struct job *j = job_new(h, fn, a);
    struct mp_why why;

    if (key.len > MP_KEY_MAX) {
        job_end(j, mp_why_set(&why, MP_EPARSE, "the key is too long"), &why);
        return;
    }
    if (!begin_state(j, false))
        return;
    j->all = j->more_actors = !key.ptr;
    keep(&j->key, key);
    clear_actor(j);
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
        return mp_why_set(why, (int)row, "no room for dead letter %lld: %s",
                          (long long)id, mp_host_full(j->h));
    if (mp_dead_drop(&j->h->dead, id))
        j->count++;
    else
        mp_host_drop_rows(j->h, fn, row, &ticket);
    return 0;
}

static int replay_one(struct job *j, struct mp_reader *r, struct mp_why *why)
{
    struct mp_pair pairs[MP_EVENT_PAIRS];
    int64_t id = (int64_t)mp_get_u64(r);
    struct mp_slice outcome = mp_get_slice(r), fn = mp_get_slice(r);
    struct mp_reader bytes = mp_reader(mp_get_slice(r));
    struct mp_slot *slot = mp_admin_slot(j->h, fn);
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
    e.has_expiry = false; /* it has long passed, mostly */
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
