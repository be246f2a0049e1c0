/*
 * show.c - a row, an object; one row more than asked for tells that there are
 * others.
 */
#include "core/show.h"

#include "core/actor.h"
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/event_json.h"
#include "core/secrets.h"

/* ---- members ---- */

static void put_text(struct mp_buf *b, const char *text)
{
    mp_buf_slice(b, mp_slice_str(text));
}

/* "NAME": behind a comma, unless it is the first of its object. */
static void put_name(struct mp_buf *b, const char *name)
{
    if (b->len && b->ptr[b->len - 1] != '{')
        put_text(b, ",");
    put_text(b, "\"");
    put_text(b, name);
    put_text(b, "\":");
}

static void put_int(struct mp_buf *b, const char *name, int64_t n)
{
    put_name(b, name);
    mp_json_put_int(b, n);
}

/* ptr NULL: null */
static void put_string(struct mp_buf *b, const char *name, struct mp_slice s)
{
    put_name(b, name);
    if (s.ptr)
        mp_json_put_string(b, s);
    else
        mp_json_put_null(b);
}

static void put_time(struct mp_buf *b, const char *name, int64_t wall_us)
{
    char text[MP_TIME_TEXT];

    mp_time_text(wall_us, text);
    put_string(b, name, mp_slice_str(text));
}

/* Seconds until then, null where there is no such time. */
static void put_in(struct mp_buf *b, const char *name, int64_t at_us,
                   int64_t now_us)
{
    put_name(b, name);
    if (at_us)
        mp_json_put_double(b,
                           at_us > now_us ? (double)(at_us - now_us) / 1e6 : 0);
    else
        mp_json_put_null(b);
}

/* ---- lists ---- */

struct list {
    struct mp_buf *out;
    uint32_t n, limit;
    bool more;
};

static struct list list_begin(struct mp_buf *out, const char *name,
                              uint32_t limit)
{
    put_text(out, "{");
    put_name(out, name);
    put_text(out, "[");
    return (struct list){out, 0, limit, false};
}

/* Is there room for one more row?  Not: that one is for the next page. */
static bool list_next(struct list *l)
{
    l->more = l->n == l->limit || l->out->len > MP_ANSWER_MAX;
    if (!l->more && l->n++)
        put_text(l->out, ",");
    return !l->more;
}

static void list_end(struct list *l)
{
    put_text(l->out, "]");
    put_name(l->out, "after");
}

static void list_end_name(struct list *l, struct mp_slice last)
{
    list_end(l);
    if (l->more)
        mp_json_put_string(l->out, last);
    else
        mp_json_put_null(l->out);
    put_text(l->out, "}\n");
}

static void list_end_id(struct list *l, int64_t last)
{
    list_end(l);
    if (l->more)
        mp_json_put_int(l->out, last);
    else
        mp_json_put_null(l->out);
    put_text(l->out, "}\n");
}

/* ---- state ---- */

static bool is_over(const struct mp_entry *e, int64_t now_us)
{
    return e->expires_us && e->expires_us <= now_us;
}

static void put_entry(struct mp_buf *b, const struct mp_entry *e,
                      int64_t now_us)
{
    put_text(b, "{");
    put_string(b, "name", e->name);
    put_name(b, "value");
    mp_value_json(b, &e->value);
    put_string(b, "kind", mp_slice_str(mp_value_kind_name(e->value.kind)));
    put_in(b, "expires_in", e->expires_us, now_us);
    put_text(b, "}");
}

static int no_value(const struct mp_request *r, struct mp_why *why)
{
    if (r->key.len)
        return mp_why_set(
            why, MP_ENONE, "'%.*s' has no value '%.*s' for the key '%.*s'",
            MP_FMT(r->function), MP_FMT(r->value), MP_FMT(r->key));
    return mp_why_set(why, MP_ENONE, "'%.*s' has no value '%.*s'",
                      MP_FMT(r->function), MP_FMT(r->value));
}

static struct mp_slice key_of(const struct mp_request *r)
{
    return r->key.ptr ? r->key : MP_S("");
}

static int show_value(struct mp_db *db, const struct mp_request *r,
                      int64_t now_us, struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_GET);
    struct mp_entry e;
    int rc;

    mp_query_text(q, r->function);
    mp_query_text(q, key_of(r));
    mp_query_text(q, r->value);
    rc = mp_query_step(q, why);
    if (rc == 1) {
        e = mp_state_row_get(q, 0);
        e.name = r->value;
        if (is_over(&e, now_us)) {
            rc = 0;
        } else {
            put_entry(out, &e, now_us);
            put_text(out, "\n");
        }
    }
    mp_query_end(q);
    return rc == 0 ? no_value(r, why) : rc == 1 ? 0 : rc;
}

/* A name that outlives the row it stands in. */
static struct mp_slice keep(char room[MP_STATE_NAME_MAX], struct mp_slice name)
{
    size_t len = name.len < MP_STATE_NAME_MAX ? name.len : MP_STATE_NAME_MAX;

    memcpy(room, name.ptr, len);
    return mp_slice(room, len);
}

static int show_values(struct mp_db *db, const struct mp_request *r,
                       int64_t now_us, struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_AFTER);
    struct list l = list_begin(out, "values", r->limit);
    struct mp_slice last = MP_S("");
    char room[MP_STATE_NAME_MAX];
    int rc;

    mp_query_text(q, r->function);
    mp_query_text(q, key_of(r));
    mp_query_text(q, r->after);
    mp_query_text(q, r->prefix);
    mp_query_int(q, -1); /* all: those that are over don't count */
    while ((rc = mp_query_step(q, why)) == 1) {
        struct mp_entry e = mp_state_row_get(q, 1);

        e.name = mp_column_bytes(q, 0);
        if (is_over(&e, now_us))
            continue;
        if (!list_next(&l))
            break;
        put_entry(out, &e, now_us);
        last = keep(room, e.name);
    }
    mp_query_end(q);
    list_end_name(&l, last);
    return rc < 0 ? rc : 0;
}

static int show_actors(struct mp_db *db, const struct mp_request *r,
                       int64_t now_us, struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_ACTORS);
    struct list l = list_begin(out, "actors", r->limit);
    struct mp_slice last = MP_S("");
    char room[MP_STATE_NAME_MAX];
    int rc;

    mp_query_text(q, r->function);
    mp_query_text(q, r->after);
    mp_query_text(q, r->prefix);
    mp_query_int(q, now_us);
    mp_query_int(q, r->limit + 1);
    while ((rc = mp_query_step(q, why)) == 1 && list_next(&l)) {
        last = keep(room, mp_column_bytes(q, 0));
        mp_json_put_string(out, last);
    }
    mp_query_end(q);
    list_end_name(&l, last);
    return rc < 0 ? rc : 0;
}

int mp_show_answer(const struct mp_request *r, const struct mp_resume *answer,
                   int64_t now_us, struct mp_buf *out, struct mp_why *why)
{
    struct mp_reader reader = mp_reader(answer->entries);
    bool one = r->what == MP_ASKED_STATE_GET;
    bool actors = r->what == MP_ASKED_ACTORS;
    struct mp_slice last = MP_S("");
    struct list l = {0};
    struct mp_entry e;

    if (answer->error.len)
        return mp_why_set(why, MP_EIO, "%.*s", MP_FMT(answer->error));
    if (one && !answer->n)
        return no_value(r, why);
    if (!one)
        l = list_begin(out, actors ? "actors" : "values", r->limit);
    for (uint32_t i = 0; i < answer->n; i++) {
        e = mp_get_entry(&reader);
        MP_ASSERT(!reader.bad);
        if (!one && !list_next(&l))
            break;
        if (actors)
            mp_json_put_string(out, e.name);
        else
            put_entry(out, &e, now_us);
        last = e.name;
    }
    l.more = l.more || answer->more;
    if (one)
        put_text(out, "\n");
    else
        list_end_name(&l, last);
    return out->full ? mp_why_set(why, MP_EFULL, "the answer is too long") : 0;
}

/* ---- dead letters and the queue ---- */

/* Columns of MP_SQL_DEAD_LIST from id on; of MP_SQL_DEAD_GET they begin at
 * the second one. */
enum {
    DEAD_TIME = 2,
    DEAD_ATTEMPT,
    DEAD_OUTCOME,
    DEAD_ERROR,
    DEAD_TRACEBACK,
    DEAD_EVENT,
    DEAD_FN,
    DEAD_VERSION,
    DEAD_SITE,
    DEAD_COUNT,
};

/* What a list tells of an event; nothing when its bytes make no sense. */
static void put_event_line(struct mp_buf *b, const struct mp_event *e)
{
    put_string(b, "event_id", e->id);
    put_time(b, "event_time", e->time_us);
    put_string(b, "type", mp_slice_str(mp_event_type_name(e->type)));
    put_string(b, "trigger", e->trigger);
    if (e->topic.len)
        put_string(b, "topic", e->topic);
    if (e->has_key)
        put_string(b, "key", e->key);
    put_int(b, "data_bytes", (int64_t)e->data.len);
}

static bool event_of(struct mp_slice bytes, struct mp_event *e,
                     struct mp_pair pairs[MP_EVENT_PAIRS])
{
    struct mp_reader r = mp_reader(bytes);

    mp_get_event(&r, e, pairs);
    return !r.bad;
}

static void put_letter(struct mp_buf *b, struct mp_query *q, int64_t id,
                       int shift, bool whole)
{
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_event e;
    bool good = event_of(mp_column_bytes(q, DEAD_EVENT - shift), &e, pairs);

    put_text(b, "{");
    put_int(b, "id", id);
    put_string(b, "function", mp_column_bytes(q, DEAD_FN - shift));
    put_string(b, "version", mp_column_bytes(q, DEAD_VERSION - shift));
    put_time(b, "time", mp_column_int(q, DEAD_TIME - shift));
    put_string(b, "outcome", mp_column_bytes(q, DEAD_OUTCOME - shift));
    put_string(b, "error", mp_column_bytes(q, DEAD_ERROR - shift));
    put_int(b, "attempt", mp_column_int(q, DEAD_ATTEMPT - shift));
    put_string(b, "site", mp_column_bytes(q, DEAD_SITE - shift));
    if (!whole)
        put_int(b, "count", mp_column_int(q, DEAD_COUNT - shift));
    if (good)
        put_event_line(b, &e);
    if (whole) {
        put_string(b, "traceback", mp_column_bytes(q, DEAD_TRACEBACK - shift));
        put_name(b, "event");
        if (good)
            mp_event_json(b, &e);
        else
            mp_json_put_null(b);
    }
    put_text(b, "}");
}

static int show_letter(struct mp_db *db, const struct mp_request *r,
                       struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_DEAD_GET);
    int rc;

    mp_query_int(q, r->id);
    rc = mp_query_step(q, why);
    if (rc == 1) {
        put_letter(out, q, r->id, 1, true);
        put_text(out, "\n");
    }
    mp_query_end(q);
    if (rc == 0)
        return mp_why_set(why, MP_ENONE, "there is no dead letter %lld",
                          (long long)r->id);
    return rc == 1 ? 0 : rc;
}

/* The function, or NULL: of all; after; limit. */
static struct mp_query *rows_begin(struct mp_db *db, enum mp_sql sql,
                                   const struct mp_request *r)
{
    struct mp_query *q = mp_query_begin(db, sql);

    if (r->function.ptr)
        mp_query_text(q, r->function);
    else
        mp_query_null(q);
    mp_query_int(q, r->after_id);
    mp_query_int(q, r->limit + 1);
    return q;
}

static int show_letters(struct mp_db *db, const struct mp_request *r,
                        struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = rows_begin(db, MP_SQL_DEAD_LIST, r);
    struct list l = list_begin(out, "dead_letters", r->limit);
    int64_t last = 0;
    int rc;

    while ((rc = mp_query_step(q, why)) == 1 && list_next(&l)) {
        last = mp_column_int(q, 0);
        put_letter(out, q, last, 0, false);
    }
    mp_query_end(q);
    list_end_id(&l, last);
    return rc < 0 ? rc : 0;
}

static bool is_there(struct mp_slice functions, struct mp_slice fn)
{
    struct mp_slice name;
    bool found = !functions.ptr;

    while (!found && mp_split(&functions, '\n', &name))
        found = mp_slice_eq(name, fn);
    return found;
}

static void put_row(struct mp_buf *b, struct mp_query *q, int64_t now_us,
                    struct mp_slice functions)
{
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_event e;

    put_text(b, "{");
    put_int(b, "id", mp_column_int(q, 0));
    put_string(b, "function", mp_column_bytes(q, 1));
    put_in(b, "due_in", mp_column_int(q, 3), now_us);
    put_int(b, "attempt", mp_column_int(q, 4));
    put_string(b, "reason", mp_column_bytes(q, 5));
    if (!is_there(functions, mp_column_bytes(q, 1)))
        put_string(b, "note", MP_S("no such function"));
    put_int(b, "bytes", mp_column_int(q, 6));
    if (event_of(mp_column_bytes(q, 7), &e, pairs))
        put_event_line(b, &e);
    put_text(b, "}");
}

static int show_queue(struct mp_db *db, const struct mp_request *r,
                      int64_t now_us, struct mp_slice functions,
                      struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = rows_begin(db, MP_SQL_QUEUE_LIST, r);
    struct list l = list_begin(out, "queue", r->limit);
    int64_t last = 0;
    int rc;

    while ((rc = mp_query_step(q, why)) == 1 && list_next(&l)) {
        last = mp_column_int(q, 0);
        put_row(out, q, now_us, functions);
    }
    mp_query_end(q);
    list_end_id(&l, last);
    return rc < 0 ? rc : 0;
}

/* Columns as MP_SQL_ALARM_ALL has them: due is of the timeline, or NULL and
 * at of the wall clock. */
static void put_alarm(struct mp_buf *b, struct mp_query *q, int64_t now_us)
{
    int64_t wall_us = mp_wall_us();
    int64_t in_us = mp_column_is_null(q, 3) ? mp_column_int(q, 4) - wall_us
                                            : mp_column_int(q, 3) - now_us;

    put_text(b, "{");
    put_string(b, "function", mp_column_bytes(q, 0));
    put_string(b, "alarm", mp_column_bytes(q, 2));
    put_string(b, "key", mp_column_bytes(q, 1));
    put_time(b, "due", wall_us + in_us);
    put_in(b, "due_in", wall_us + in_us, wall_us);
    put_string(b, "reason", MP_S("alarm"));
    put_text(b, "}");
}

/* They have no ids: a page begins behind so many. */
static int show_alarms(struct mp_db *db, const struct mp_request *r,
                       int64_t now_us, struct mp_buf *out, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_ALARM_ALL);
    struct list l = list_begin(out, "alarms", r->limit);
    int64_t n = 0;
    int rc;

    while ((rc = mp_query_step(q, why)) == 1) {
        if (r->function.ptr && !mp_slice_eq(r->function, mp_column_bytes(q, 0)))
            continue;
        if (n >= r->after_id) {
            if (!list_next(&l))
                break;
            put_alarm(out, q, now_us);
        }
        n++;
    }
    mp_query_end(q);
    list_end_id(&l, n);
    return rc < 0 ? rc : 0;
}

int mp_show_rows(struct mp_db *db, const struct mp_request *r, int64_t now_us,
                 struct mp_slice functions, struct mp_buf *out,
                 struct mp_why *why)
{
    int rc;

    switch (r->what) {
    case MP_ASKED_ACTORS:
        rc = show_actors(db, r, now_us, out, why);
        break;
    case MP_ASKED_STATE:
        rc = show_values(db, r, now_us, out, why);
        break;
    case MP_ASKED_STATE_GET:
        rc = show_value(db, r, now_us, out, why);
        break;
    case MP_ASKED_DEAD:
        rc = show_letters(db, r, out, why);
        break;
    case MP_ASKED_DEAD_GET:
        rc = show_letter(db, r, out, why);
        break;
    case MP_ASKED_QUEUE:
        rc = show_queue(db, r, now_us, functions, out, why);
        break;
    case MP_ASKED_ALARMS:
        rc = show_alarms(db, r, now_us, out, why);
        break;
    default:
        mp_bug(__FILE__, __LINE__, "not a request that reads");
    }
    if (!rc && out->full)
        rc = mp_why_set(why, MP_EFULL, "the answer is too long");
    return rc;
}

/* ---- what became of an event ---- */

static void put_result(struct mp_buf *b, const struct mp_outcome *o)
{
    bool json = o->result_format == MP_FORMAT_JSON;
    struct mp_value v = {.kind = json ? MP_VALUE_TABLE : MP_VALUE_STRING};
    struct mp_buf hidden; /* a person looks at it */

    mp_buf_init(&hidden, o->result.len);
    v.text = mp_secrets_hide(o->result, &hidden);
    put_name(b, "result");
    if (o->result_kind == MP_RESULT_NONE)
        mp_json_put_null(b);
    else
        mp_value_json(b, &v);
    if (o->result_kind == MP_RESULT_REPLY)
        put_int(b, "status", o->status);
    mp_buf_fini(&hidden);
}

void mp_show_outcome(struct mp_slice id, const struct mp_outcome *outcome,
                     const char *why, struct mp_buf *out)
{
    struct mp_slice none = {NULL, 0};

    put_text(out, "{");
    put_string(out, "id", id);
    if (!outcome) {
        put_string(out, "outcome", none);
        put_string(out, "error", mp_slice_str(why));
        put_text(out, "}\n");
        return;
    }
    put_string(out, "outcome", mp_slice_str(mp_kind_name(outcome->kind)));
    put_string(out, "error", outcome->error.len ? outcome->error : none);
    put_string(out, "traceback",
               outcome->traceback.len ? outcome->traceback : none);
    if (why)
        put_string(out, "retry", mp_slice_str(why));
    put_result(out, outcome);
    put_int(out, "effects", outcome->n_effects);
    put_name(out, "duration_us");
    mp_json_put_double(out, outcome->run_ns / 1e3);
    put_int(out, "memory_bytes", outcome->memory);
    put_text(out, "}\n");
}

void mp_show_problem(unsigned status, const char *title, const char *detail,
                     struct mp_buf *out)
{
    put_text(out, "{");
    put_string(out, "title", mp_slice_str(title));
    put_int(out, "status", status);
    put_string(out, "detail", mp_slice_str(detail));
    put_text(out, "}\n");
}
