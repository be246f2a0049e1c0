/*
 * local.c - the host's answers without the host.
 *
 * What a running host keeps in memory it has loaded from here, so a change is
 * made as it would have written it: a replayed letter is a row of the queue
 * that waits for its function.
 */
#include "cli/local.h"

#include <stdio.h>
#include <unistd.h>

#include "core/actor.h"
#include "core/base/clock.h"
#include "core/base/wire.h"
#include "core/queue.h"
#include "core/show.h"
#include "core/timeline.h"

enum {
    PAGE = 100, /* rows read at a time, while others are written */
};

/* ---- opening ---- */

static int64_t timeline_now(struct mp_db *db)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_KEPT_GET);
    struct mp_timeline t;
    struct mp_why why;

    mp_query_text(q, MP_S("clock"));
    mp_timeline_start(
        &t, mp_query_step(q, &why) == 1 ? mp_column_bytes(q, 0) : MP_S(""),
        mp_wall_us(), mp_now_us(), mp_timeline_build_us());
    mp_query_end(q);
    return mp_timeline_at(&t, mp_now_us());
}

int mp_local_open(struct mp_local *l, const char *data, uint64_t max_size,
                  struct mp_why *why)
{
    char path[4096];
    int rc;

    snprintf(path, sizeof path, "%s/moonpool.db", data);
    if (access(path, F_OK))
        return mp_why_set(why, MP_ENONE,
                          "no host runs on %s, and there is no database in it",
                          data);
    rc = mp_db_open_whole(&l->db, data, max_size, why);
    if (rc)
        return rc;
    l->now_us = timeline_now(l->db);
    return 0;
}

void mp_local_close(struct mp_local *l)
{
    mp_db_close(l->db);
}

/* ---- looking ---- */

/* The actors of a function, expired values or not; limit -1: all. */
static struct mp_query *actors_of(struct mp_local *l, struct mp_slice fn,
                                  int64_t limit)
{
    struct mp_query *q = mp_query_begin(l->db, MP_SQL_STATE_ACTORS);

    mp_query_text(q, fn);
    mp_query_text(q, MP_S("")); /* after */
    mp_query_text(q, MP_S("")); /* prefix */
    mp_query_int(q, 0);
    mp_query_int(q, limit);
    return q;
}

/* The values of one actor, or of the function itself. */
static struct mp_query *values_of(struct mp_local *l, struct mp_slice fn,
                                  struct mp_slice key)
{
    struct mp_query *q = mp_query_begin(l->db, MP_SQL_STATE_OF);

    mp_query_text(q, fn);
    mp_query_text(q, key);
    return q;
}

/* One row of it is enough, of its own actor or of any other. */
static int has_state(struct mp_local *l, struct mp_slice fn, struct mp_why *why)
{
    struct mp_query *q = actors_of(l, fn, 1);
    int rc = mp_query_step(q, why);

    mp_query_end(q);
    if (rc)
        return rc;
    q = values_of(l, fn, MP_S(""));
    rc = mp_query_step(q, why);
    mp_query_end(q);
    return rc;
}

/* What functions there are nobody knows here. */
static int show(struct mp_local *l, const struct mp_request *r,
                struct mp_buf *out, struct mp_why *why)
{
    bool state = r->what == MP_ASKED_ACTORS || r->what == MP_ASKED_STATE;
    int rc = state ? has_state(l, r->function, why) : 1;

    if (rc == 0)
        return mp_why_set(why, MP_ENONE,
                          "there is no state of a function '%.*s' in the "
                          "database (no host runs)",
                          MP_FMT(r->function));
    if (rc < 0)
        return rc;
    return mp_show_rows(l->db, r, l->now_us, (struct mp_slice){0}, out, why);
}

/* ---- changes ---- */

static int apply(struct mp_local *l, struct mp_batch *b, uint64_t count,
                 struct mp_buf *out, struct mp_why *why)
{
    int rc = b->n ? mp_db_apply(l->db, b, why) : 0;

    mp_batch_fini(b);
    if (!rc)
        mp_buf_printf(out, "{\"count\":%llu}\n", (unsigned long long)count);
    return rc;
}

/* What isn't there can't be removed. */
static int check_there(struct mp_local *l, const struct mp_request *r,
                       struct mp_why *why)
{
    struct mp_request get = *r;
    struct mp_buf value;
    int rc;

    get.what = MP_ASKED_STATE_GET;
    mp_buf_init(&value, MP_SHOWN_MAX);
    rc = show(l, &get, &value, why);
    mp_buf_fini(&value);
    return rc;
}

/* A value of kind none: the row goes. */
static void put_value(struct mp_batch *b, struct mp_slice fn,
                      struct mp_slice key, const struct mp_entry *e)
{
    bool gone = e->value.kind == MP_VALUE_NONE;

    mp_batch_op(b, gone ? MP_SQL_STATE_DELETE : MP_SQL_STATE_PUT);
    mp_batch_text(b, fn);
    mp_batch_text(b, key);
    mp_batch_text(b, e->name);
    if (!gone)
        mp_state_row_put(b, e);
}

static int state_put(struct mp_local *l, const struct mp_request *r,
                     struct mp_slice body, struct mp_buf *out,
                     struct mp_why *why)
{
    struct mp_slice key = r->key.ptr ? r->key : MP_S("");
    struct mp_entry e = {.name = r->value}; /* it does not expire */
    struct mp_batch b;
    struct mp_buf text;
    int rc = 0;

    mp_buf_init(&text, MP_BODY_MAX);
    if (r->what == MP_ASKED_STATE_PUT)
        rc = mp_request_value(body, &e.value, &text, why);
    if (!rc)
        rc = mp_request_check_value(key, r->value, &e.value, why);
    if (!rc && r->what == MP_ASKED_STATE_DELETE)
        rc = check_there(l, r, why);
    if (!rc) {
        mp_batch_init(&b);
        put_value(&b, r->function, key, &e);
        rc = apply(l, &b, 1, out, why);
    }
    mp_buf_fini(&text);
    return rc;
}

static int clear_actor(struct mp_local *l, struct mp_slice fn,
                       struct mp_slice key, struct mp_batch *b, uint64_t *count,
                       struct mp_why *why)
{
    struct mp_query *q = values_of(l, fn, key);
    int rc;

    while ((rc = mp_query_step(q, why)) == 1) {
        put_value(b, fn, key,
                  &(struct mp_entry){.name = mp_column_bytes(q, 0)});
        ++*count;
    }
    mp_query_end(q);
    return rc;
}

static int clear_actors(struct mp_local *l, struct mp_slice fn,
                        struct mp_batch *b, uint64_t *count, struct mp_why *why)
{
    struct mp_query *q = actors_of(l, fn, -1);
    int rc;

    while ((rc = mp_query_step(q, why)) == 1) {
        rc = clear_actor(l, fn, mp_column_bytes(q, 0), b, count, why);
        if (rc)
            break;
    }
    mp_query_end(q);
    return rc;
}

/* Of an actor, or without a key of all and the function itself. */
static int state_clear(struct mp_local *l, const struct mp_request *r,
                       struct mp_buf *out, struct mp_why *why)
{
    struct mp_slice key = r->key.ptr ? r->key : MP_S("");
    struct mp_batch b;
    uint64_t count = 0;
    int rc;

    mp_batch_init(&b);
    rc = clear_actor(l, r->function, key, &b, &count, why);
    if (!rc && !r->key.ptr)
        rc = clear_actors(l, r->function, &b, &count, why);
    if (!rc)
        return apply(l, &b, count, out, why);
    mp_batch_fini(&b);
    return rc;
}

static void delete_row(struct mp_batch *b, enum mp_sql sql, int64_t id)
{
    mp_batch_op(b, sql);
    mp_batch_int(b, id);
}

/* What is left of a group without letters goes, too. */
static int delete_empty_groups(struct mp_local *l, struct mp_why *why)
{
    struct mp_query *groups = mp_query_begin(l->db, MP_SQL_DEAD_GROUPS);
    struct mp_batch b;
    int rc;

    mp_batch_init(&b);
    while ((rc = mp_query_step(groups, why)) == 1) {
        struct mp_query *q = mp_query_begin(l->db, MP_SQL_DEAD_INDEX);
        int64_t group = mp_column_int(groups, 0);
        bool found = false;

        while ((rc = mp_query_step(q, why)) == 1)
            found = found || mp_column_int(q, 1) == group;
        mp_query_end(q);
        if (rc)
            break;
        if (!found)
            delete_row(&b, MP_SQL_DEAD_GROUP_DELETE, group);
    }
    mp_query_end(groups);
    if (rc == 0 && b.n)
        rc = mp_db_apply(l->db, &b, why);
    mp_batch_fini(&b);
    return rc;
}

static int none(const char *what, int64_t id, struct mp_why *why)
{
    return mp_why_set(why, MP_ENONE, "there is no %s %lld", what,
                      (long long)id);
}

static void bind_function(struct mp_query *q, const struct mp_request *r)
{
    if (r->function.ptr)
        mp_query_text(q, r->function);
    else
        mp_query_null(q);
}

/* Every row that is meant, as deletes. */
static int rows_to_delete(struct mp_local *l, const struct mp_request *r,
                          enum mp_sql list, enum mp_sql delete,
                          struct mp_batch *b, uint64_t *count,
                          struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(l->db, list);
    int rc;

    bind_function(q, r);
    mp_query_int(q, r->id ? r->id - 1 : 0);
    mp_query_int(q, r->id ? 1 : -1);
    while ((rc = mp_query_step(q, why)) == 1) {
        int64_t id = mp_column_int(q, 0);

        if (r->id && r->id != id)
            break;
        delete_row(b, delete, id);
        ++*count;
    }
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

static int drop(struct mp_local *l, const struct mp_request *r, bool dead,
                struct mp_buf *out, struct mp_why *why)
{
    struct mp_batch b;
    uint64_t count = 0;
    int rc;

    mp_batch_init(&b);
    if (dead)
        mp_batch_op(&b, MP_SQL_DEAD_KEEP_ID);
    rc = rows_to_delete(l, r, dead ? MP_SQL_DEAD_LIST : MP_SQL_QUEUE_LIST,
                        dead ? MP_SQL_DEAD_DELETE : MP_SQL_QUEUE_DELETE, &b,
                        &count, why);
    if (!rc && r->id && !count)
        rc = none(dead ? "dead letter" : "waiting event", r->id, why);
    if (rc) {
        mp_batch_fini(&b);
        return rc;
    }
    rc = apply(l, &b, count, out, why);
    return rc || !dead ? rc : delete_empty_groups(l, why);
}

/* ---- replay ---- */

static int next_row(struct mp_local *l, int64_t *id, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(l->db, MP_SQL_QUEUE_INDEX);
    int rc;

    *id = 1;
    while ((rc = mp_query_step(q, why)) == 1)
        *id = mp_column_int(q, 0) + 1;
    mp_query_end(q);
    return rc;
}

struct letter {
    int64_t id;
    struct mp_slice outcome, event, fn;
};

static struct letter letter_of(struct mp_query *q, int64_t id, int shift)
{
    return (struct letter){.id = id,
                           .outcome = mp_column_bytes(q, 4 - shift),
                           .event = mp_column_bytes(q, 7 - shift),
                           .fn = mp_column_bytes(q, 8 - shift)};
}

/* Into the queue, as the host keeps what it has spilled. */
static int put_row(struct mp_batch *b, int64_t id, const struct letter *letter,
                   int64_t now_us, struct mp_why *why)
{
    struct mp_reader r = mp_reader(letter->event);
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_event e;
    struct mp_row row;
    struct mp_buf scratch;

    mp_get_event(&r, &e, pairs);
    if (r.bad)
        return mp_why_set(why, MP_EIO, "dead letter %lld can't be read",
                          (long long)letter->id);
    if (mp_slice_is(letter->outcome, "output"))
        return mp_why_set(why, MP_EDENY,
                          "dead letter %lld is a message that the broker "
                          "refused; start the host to send it again",
                          (long long)letter->id);
    e.attempt = 1;
    e.has_expiry = false;
    row = (struct mp_row){.id = id,
                          .fn = letter->fn,
                          .okey = e.key,
                          .has_okey = e.has_key,
                          .received_us = now_us,
                          .attempt = e.attempt,
                          .reason = MP_S("replay"),
                          .event = e};
    mp_buf_init(&scratch, 2 * (size_t)MP_FRAME_MAX);
    mp_row_put(b, &row, mp_row_bytes(&row), &scratch);
    mp_buf_fini(&scratch);
    mp_batch_op(b, MP_SQL_DEAD_KEEP_ID);
    delete_row(b, MP_SQL_DEAD_DELETE, letter->id);
    return 0;
}

/* A page of letters from `after` on; how many were looked at. */
static int replay_page(struct mp_local *l, const struct mp_request *r,
                       int64_t *after, int64_t *row, struct mp_batch *b,
                       uint64_t *count, int *refused, struct mp_why *why)
{
    struct mp_query *q =
        mp_query_begin(l->db, r->id ? MP_SQL_DEAD_GET : MP_SQL_DEAD_LIST);
    struct letter letter;
    int rc, n = 0;

    if (r->id) {
        mp_query_int(q, r->id);
    } else {
        bind_function(q, r);
        mp_query_int(q, *after);
        mp_query_int(q, PAGE);
    }
    while ((rc = mp_query_step(q, why)) == 1) {
        letter = letter_of(q, r->id ? r->id : mp_column_int(q, 0), r->id > 0);
        *after = letter.id;
        n++;
        rc = put_row(b, *row, &letter, l->now_us, why);
        if (rc)
            *refused = rc;
        else
            ++*row, ++*count;
    }
    mp_query_end(q);
    return rc < 0 ? rc : n;
}

static int replay(struct mp_local *l, const struct mp_request *r,
                  struct mp_buf *out, struct mp_why *why)
{
    int64_t after = 0, row;
    uint64_t count = 0;
    struct mp_why failed;
    int rc, n, refused = 0;

    rc = next_row(l, &row, why);
    if (rc)
        return rc;
    do {
        struct mp_batch b;

        mp_batch_init(&b);
        n = replay_page(l, r, &after, &row, &b, &count, &refused, why);
        rc = n < 0 ? n : b.n ? mp_db_apply(l->db, &b, &failed) : 0;
        mp_batch_fini(&b);
        if (rc && n >= 0)
            *why = failed;
    } while (!rc && n == PAGE && !r->id);
    if (!rc && r->id && !n)
        rc = none("dead letter", r->id, why);
    if (!rc && refused)
        return refused;
    if (rc)
        return rc;
    mp_buf_printf(out, "{\"count\":%llu}\n", (unsigned long long)count);
    return delete_empty_groups(l, why);
}

int mp_local_answer(struct mp_local *l, const struct mp_request *r,
                    struct mp_slice body, struct mp_buf *out,
                    struct mp_why *why)
{
    switch (r->what) {
    case MP_ASKED_ACTORS:
    case MP_ASKED_STATE:
    case MP_ASKED_STATE_GET:
    case MP_ASKED_DEAD:
    case MP_ASKED_DEAD_GET:
    case MP_ASKED_QUEUE:
    case MP_ASKED_ALARMS:
        return show(l, r, out, why);
    case MP_ASKED_STATE_PUT:
    case MP_ASKED_STATE_DELETE:
        return state_put(l, r, body, out, why);
    case MP_ASKED_STATE_CLEAR:
        return state_clear(l, r, out, why);
    case MP_ASKED_DEAD_DROP_ALL:
    case MP_ASKED_DEAD_DROP:
        return drop(l, r, true, out, why);
    case MP_ASKED_DEAD_REPLAY_ALL:
    case MP_ASKED_DEAD_REPLAY:
        return replay(l, r, out, why);
    case MP_ASKED_QUEUE_DROP_ALL:
    case MP_ASKED_QUEUE_DROP:
        return drop(l, r, false, out, why);
    default:
        return mp_why_set(why, MP_EDENY, "that needs a running host");
    }
}
