/*
 * actors.c - a sorted array of values, and a list of alarms: a test has a
 * handful of each.
 */
#include "cli/actors.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/event_json.h"

enum {
    ROWS_MIN = 16,
    BYTES_MAX = MP_FRAME_MAX - (1 << 20), /* of one answer */
    TEXT_MAX = MP_STATE_VALUE_MAX,
};

/* The bytes of all slices lie behind it, in one block with text. */
struct mp_actors_row {
    struct mp_slice key, name;
    struct mp_value value;
    int64_t expires_us; /* 0: never */
    char *block;
};

struct mp_actors_alarm {
    struct mp_link link;
    struct mp_slice key, name, data;
    int64_t due_us;
    struct mp_buf id; /* of its event */
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;
    char *block;
};

void mp_actors_init(struct mp_actors *a)
{
    *a = (struct mp_actors){0};
    mp_list_init(&a->alarms);
    mp_buf_init(&a->bytes, MP_FRAME_MAX);
}

void mp_actors_alarm_done(struct mp_actors_alarm *alarm)
{
    mp_list_unlink(&alarm->link);
    mp_buf_fini(&alarm->id);
    free(alarm->block);
    free(alarm);
}

void mp_actors_fini(struct mp_actors *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->rows[i].block);
    free(a->rows);
    while (a->alarms.next && !mp_list_empty(&a->alarms))
        mp_actors_alarm_done(
            mp_of(a->alarms.next, struct mp_actors_alarm, link));
    mp_buf_fini(&a->bytes);
}

/* ---- rows ---- */

static int compare(struct mp_slice a, struct mp_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* The first row that is not before (key, name). */
static size_t seek(const struct mp_actors *a, struct mp_slice key,
                   struct mp_slice name)
{
    size_t from = 0, to = a->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        const struct mp_actors_row *r = &a->rows[middle];
        int order = compare(r->key, key);

        if (order < 0 || (order == 0 && compare(r->name, name) < 0))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_row(const struct mp_actors *a, size_t at, struct mp_slice key,
                   struct mp_slice name)
{
    return at < a->n && mp_slice_eq(a->rows[at].key, key) &&
           mp_slice_eq(a->rows[at].name, name);
}

static bool is_live(const struct mp_actors_row *r, int64_t now_us)
{
    return !r->expires_us || r->expires_us > now_us;
}

static struct mp_slice copy(struct mp_slice s, char **at)
{
    struct mp_slice to = mp_slice(*at, s.len);

    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return to;
}

static void put_row(struct mp_actors *a, struct mp_slice key,
                    struct mp_slice name, const struct mp_value *value,
                    int64_t expires_us)
{
    size_t at = seek(a, key, name);
    struct mp_actors_row row = {.value = *value, .expires_us = expires_us};
    char *end;

    end = row.block = mp_alloc(key.len + name.len + value->text.len + 1);
    row.key = copy(key, &end);
    row.name = copy(name, &end);
    row.value.text = copy(value->text, &end);
    if (is_row(a, at, key, name)) {
        free(a->rows[at].block);
        a->rows[at] = row;
        return;
    }
    if (a->n == a->cap) {
        a->cap = a->cap ? 2 * a->cap : ROWS_MIN;
        a->rows = mp_realloc(a->rows, a->cap * sizeof *a->rows);
    }
    memmove(a->rows + at + 1, a->rows + at, (a->n - at) * sizeof *a->rows);
    a->rows[at] = row;
    a->n++;
}

static void drop_row(struct mp_actors *a, size_t at)
{
    free(a->rows[at].block);
    a->n--;
    memmove(a->rows + at, a->rows + at + 1, (a->n - at) * sizeof *a->rows);
}

/* ---- values as people write them ---- */

static int read_value(struct mp_actors *a, struct mp_slice key,
                      const struct mp_tree *v, struct mp_why *why)
{
    struct mp_value value = {0};
    struct mp_buf text;
    int rc = 0;

    if (v->name.len < 1 || v->name.len > MP_STATE_NAME_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "the name of a value has 1 to %d bytes",
                          MP_STATE_NAME_MAX);
    mp_buf_init(&text, TEXT_MAX);
    switch (v->kind) {
    case MP_TREE_INT:
        value.kind = MP_VALUE_INTEGER;
        value.integer = v->integer;
        break;
    case MP_TREE_REAL:
        value.kind = MP_VALUE_FLOAT;
        value.number = v->real;
        break;
    case MP_TREE_BOOL:
        value.kind = MP_VALUE_BOOLEAN;
        value.integer = v->yes;
        break;
    case MP_TREE_STRING:
        value.kind = MP_VALUE_STRING;
        value.text = v->text;
        break;
    case MP_TREE_NULL:
        rc = mp_why_set(why, MP_EPARSE, "%.*s is null, which is no value",
                        MP_FMT(mp_cut(v->name, 60)));
        break;
    default:
        value.kind = MP_VALUE_TABLE;
        mp_tree_print(v, &text);
        value.text = mp_buf_bytes(&text);
        break;
    }
    if (rc == 0 && (text.full || value.text.len > MP_STATE_VALUE_MAX))
        rc = mp_why_set(why, MP_EPARSE, "%.*s is larger than %d bytes",
                        MP_FMT(mp_cut(v->name, 60)), MP_STATE_VALUE_MAX);
    if (rc == 0)
        put_row(a, key, v->name, &value, 0);
    mp_buf_fini(&text);
    return rc;
}

static int read_actor(struct mp_actors *a, struct mp_slice key,
                      const struct mp_tree *values, struct mp_why *why)
{
    int rc = 0;

    for (size_t i = 0; i < values->n && rc == 0; i++)
        rc = read_value(a, key, values->items[i], why);
    return rc;
}

int mp_actors_read(struct mp_actors *a, const struct mp_function *fn,
                   const struct mp_tree *state, struct mp_why *why)
{
    int rc = 0;

    if (!fn->has_state)
        return mp_why_set(why, MP_EPARSE, "'%s' has no [state] section",
                          fn->name);
    if (state->kind != MP_TREE_OBJECT)
        return mp_why_set(why, MP_EPARSE,
                          "it is %s; it is written " MP_ACTORS_FORM,
                          mp_tree_kind_name(state));
    for (size_t i = 0; i < state->n && rc == 0; i++) {
        const struct mp_tree *actor = state->items[i];

        if (actor->kind != MP_TREE_OBJECT)
            return mp_why_set(
                why, MP_EPARSE, "'%.*s' is %s; it is written " MP_ACTORS_FORM,
                MP_FMT(mp_cut(actor->name, 60)), mp_tree_kind_name(actor));
        if (actor->name.len > MP_KEY_MAX)
            return mp_why_set(why, MP_EPARSE, "a key has at most %d bytes",
                              MP_KEY_MAX);
        if (actor->name.len && !fn->state_key)
            return mp_why_set(why, MP_EPARSE,
                              "actor '%.*s': [state] of '%s' has no key; it "
                              "is written {\"\": {NAME: value}}",
                              MP_FMT(mp_cut(actor->name, 60)), fn->name);
        rc = read_actor(a, actor->name, actor, why);
    }
    return rc;
}

/* ---- for a run ---- */

static void put_entry(struct mp_buf *b, const struct mp_actors_row *r,
                      bool valued)
{
    struct mp_entry e = {.name = r->name, .expires_us = r->expires_us};

    if (valued)
        e.value = r->value;
    mp_put_entry(b, &e);
}

struct mp_run_state mp_actors_travel(struct mp_actors *a,
                                     const struct mp_function *fn,
                                     struct mp_slice key, int64_t now_us)
{
    struct mp_run_state state = {.complete = true,
                                 .left = (int64_t)fn->state_quota};

    mp_buf_reset(&a->bytes);
    for (size_t i = 0; i < a->n; i++) {
        const struct mp_actors_row *r = &a->rows[i];

        if (!is_live(r, now_us))
            continue;
        state.left -=
            (int64_t)(r->key.len + r->name.len + mp_value_bytes(&r->value));
        if (!mp_slice_eq(r->key, key) || !state.complete)
            continue;
        if (a->bytes.len + r->name.len + mp_value_bytes(&r->value) >
            MP_STATE_TRAVEL_MAX) {
            state.complete = false;
            continue;
        }
        put_entry(&a->bytes, r, true);
        state.n++;
    }
    state.entries = mp_buf_bytes(&a->bytes);
    return state;
}

static bool starts(struct mp_slice s, struct mp_slice with)
{
    return s.len >= with.len && mp_slice_eq(mp_slice(s.ptr, with.len), with);
}

/* The keys that have values, each once. */
static void answer_actors(struct mp_actors *a, const struct mp_wait *wait,
                          int64_t now_us, struct mp_resume *answer)
{
    struct mp_slice last = wait->after;

    for (size_t i = 0; i < a->n; i++) {
        struct mp_actors_row r = a->rows[i];

        if (!r.key.len || compare(r.key, last) <= 0 ||
            !starts(r.key, wait->name) || !is_live(&r, now_us))
            continue;
        if (answer->n == wait->limit) {
            answer->more = true;
            return;
        }
        last = r.name = r.key;
        put_entry(&a->bytes, &r, false);
        answer->n++;
    }
}

void mp_actors_answer(struct mp_actors *a, struct mp_slice key,
                      const struct mp_wait *wait, int64_t now_us,
                      struct mp_resume *answer)
{
    bool get = wait->kind == MP_WAIT_GET;

    mp_buf_reset(&a->bytes);
    if (wait->of)
        key = wait->key;
    if (wait->kind == MP_WAIT_ACTORS)
        answer_actors(a, wait, now_us, answer);
    for (size_t i = seek(a, key, wait->name);
         wait->kind != MP_WAIT_ACTORS && i < a->n; i++) {
        const struct mp_actors_row *r = &a->rows[i];

        if (!mp_slice_eq(r->key, key) ||
            !(get ? mp_slice_eq(r->name, wait->name)
                  : starts(r->name, wait->name)))
            break;
        if (!is_live(r, now_us) ||
            (wait->after.len && compare(r->name, wait->after) <= 0))
            continue;
        if (answer->n && a->bytes.len + r->value.text.len > BYTES_MAX) {
            answer->more = true;
            break;
        }
        put_entry(&a->bytes, r, wait->kind != MP_WAIT_NAMES);
        answer->n++;
    }
    answer->entries = mp_buf_bytes(&a->bytes);
}

/* ---- alarms ---- */

static struct mp_actors_alarm *
find_alarm(struct mp_actors *a, struct mp_slice key, struct mp_slice name)
{
    mp_list_each (at, &a->alarms) {
        struct mp_actors_alarm *alarm = mp_of(at, struct mp_actors_alarm, link);

        if (mp_slice_eq(alarm->key, key) && mp_slice_eq(alarm->name, name))
            return alarm;
    }
    return NULL;
}

static void set_alarm(struct mp_actors *a, const struct mp_event *event,
                      const struct mp_effect *e)
{
    struct mp_actors_alarm *alarm = find_alarm(a, e->key, e->name);
    size_t len = e->key.len + e->name.len + e->data.len;
    char *end;

    if (alarm && !e->cancel && llabs(alarm->due_us - e->at_us) <= e->slack_us)
        return;
    if (alarm)
        mp_actors_alarm_done(alarm);
    if (e->cancel)
        return;
    for (uint32_t i = 0; i < event->n_params; i++)
        len += event->params[i].name.len + event->params[i].value.len;
    alarm = mp_zalloc(sizeof *alarm);
    end = alarm->block = mp_alloc(len + 1);
    alarm->due_us = e->at_us;
    alarm->key = copy(e->key, &end);
    alarm->name = copy(e->name, &end);
    alarm->data = copy(e->data, &end);
    for (uint32_t i = 0; i < event->n_params; i++) {
        alarm->params[i].name = copy(event->params[i].name, &end);
        alarm->params[i].value = copy(event->params[i].value, &end);
    }
    alarm->n_params = event->n_params;
    mp_buf_init(&alarm->id, 4 * MP_KEY_MAX);
    mp_buf_printf(&alarm->id, "alarm/%.*s/%.*s/%lld", MP_FMT(alarm->key),
                  MP_FMT(alarm->name), (long long)alarm->due_us);
    mp_list_append(&a->alarms, &alarm->link);
}

struct mp_actors_alarm *mp_actors_due(struct mp_actors *a, int64_t until_us)
{
    struct mp_actors_alarm *first = NULL;

    mp_list_each (at, &a->alarms) {
        struct mp_actors_alarm *alarm = mp_of(at, struct mp_actors_alarm, link);

        if (alarm->due_us <= until_us &&
            (!first || alarm->due_us < first->due_us))
            first = alarm;
    }
    if (first) {
        mp_list_unlink(&first->link);
        mp_list_init(&first->link);
    }
    return first;
}

int64_t mp_actors_alarm_event(const struct mp_actors_alarm *alarm,
                              struct mp_event *event)
{
    *event = (struct mp_event){
        .type = MP_EVENT_ALARM,
        .id = mp_cut(mp_buf_bytes(&alarm->id), MP_EVENT_ID_MAX),
        .source = MP_S("function:test"),
        .subject = alarm->name,
        .trigger = MP_S("alarm"),
        .key = alarm->key,
        .has_key = alarm->key.len > 0,
        .time_us = alarm->due_us,
        .attempt = 1,
        .data = alarm->data,
        .alarm = alarm->name,
        .params = alarm->params,
        .n_params = alarm->n_params,
    };
    return alarm->due_us;
}

void mp_actors_apply(struct mp_actors *a, const struct mp_event *event,
                     const struct mp_outcome *out, int64_t now_us)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;

    for (uint32_t i = 0; i < out->n_effects; i++) {
        int rc = mp_read_effect(&r, &e, pairs);
        size_t at;

        MP_ASSERT(rc == 0);
        if (e.kind == MP_EFFECT_ALARM)
            set_alarm(a, event, &e);
        if (e.kind != MP_EFFECT_STATE)
            continue;
        at = seek(a, e.key, e.name);
        if (e.value.kind != MP_VALUE_NONE)
            put_row(a, e.key, e.name, &e.value,
                    e.ttl_us ? now_us + e.ttl_us : 0);
        else if (is_row(a, at, e.key, e.name))
            drop_row(a, at);
    }
}

/* ---- to be looked at ---- */

void mp_actors_json(struct mp_actors *a, int64_t now_us, struct mp_buf *b)
{
    const struct mp_actors_row *last = NULL;

    mp_buf_put(b, "{", 1);
    for (size_t i = 0; i < a->n; i++) {
        const struct mp_actors_row *r = &a->rows[i];
        bool same = last && mp_slice_eq(last->key, r->key);

        if (!is_live(r, now_us))
            continue;
        if (!same) {
            mp_buf_slice(b, last ? MP_S("},") : MP_S(""));
            mp_json_put_string(b, r->key);
            mp_buf_slice(b, MP_S(":{"));
        } else if (last) {
            mp_buf_put(b, ",", 1);
        }
        mp_json_put_string(b, r->name);
        mp_buf_put(b, ":", 1);
        mp_value_json(b, &r->value);
        last = r;
    }
    mp_buf_slice(b, last ? MP_S("}}") : MP_S("}"));
}
