/*
 * stream.c - events go down the lines; windows hold some of them back.
 *
 * Memories are in one table a line, by the hash of their key, and in order of
 * when they were seen (core/lru.h).  All windows of a line last equally long,
 * so the order in which they opened (settled: were seen) is the order in which
 * their time is up: a list, no heap.
 *
 * Whoever calls pass or skip holds no number of a memory any more: what was
 * taken out of a window is on its own, and the window is gone, before anybody
 * is told.  So removing other items meanwhile is harmless.
 */
#include "core/stream.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"

/* What is remembered of a field. */
struct last {
    uint8_t kind; /* enum mp_field_kind */
    bool is_int, truth;
    union {
        int64_t integer;
        double real;
        uint64_t hash; /* of a string or tree */
    } as;
};

struct band {
    int64_t passed_us;
    struct last last[]; /* one for each field of the line */
};

struct bucket {
    int64_t full_ns; /* when it will be full */
};

struct window {
    struct mp_link items;
    int64_t due_us;
    uint32_t sooner, later; /* windows of the line, by due_us */
    uint32_t n, bytes;
};

const char *mp_stream_line_name(enum mp_stream_line line)
{
    static const char *const names[MP_STREAM_LINES] = {
        "filter", "deadband", "throttle", "coalesce", "batch"};

    return names[line];
}

const char *mp_stream_why_name(enum mp_stream_why why)
{
    static const char *const names[MP_STREAM_WHYS] = {
        "filter", "deadband", "throttle", "coalesce", "no_key"};

    return names[why];
}

static void windows_init(struct mp_windows *w, uint32_t tracked, int64_t within)
{
    mp_lru_init(&w->keys, tracked, sizeof(struct window));
    w->first = w->last = 0;
    w->within_us = within;
}

void mp_stream_init(struct mp_stream *s, const struct mp_stream_lines *lines,
                    uint32_t tracked, const struct mp_hash_key *secret,
                    const struct mp_stream_user *user)
{
    *s = (struct mp_stream){.lines = lines, .user = *user, .secret = *secret};
    mp_lru_init(&s->deadband, tracked,
                sizeof(struct band) + lines->deadband.n * sizeof(struct last));
    mp_lru_init(&s->throttle, tracked, sizeof(struct bucket));
    windows_init(&s->coalesce, tracked, lines->coalesce_us);
    windows_init(&s->batch, tracked, lines->batch_us);
}

void mp_stream_fini(struct mp_stream *s)
{
    MP_ASSERT(s->held == 0);
    mp_lru_fini(&s->deadband);
    mp_lru_fini(&s->throttle);
    mp_lru_fini(&s->coalesce.keys);
    mp_lru_fini(&s->batch.keys);
}

static void adopt(struct mp_lru *to, struct mp_lru *from)
{
    struct mp_lru empty = *to;

    *to = *from;
    to->max = empty.max;
    while (to->n > to->max)
        mp_lru_forget(to, to->oldest);
    mp_lru_init(from, empty.max, 0);
}

static bool same_line(const struct mp_stream *a, const struct mp_stream *b,
                      enum mp_stream_line line)
{
    const char *x = a->lines->texts[line], *y = b->lines->texts[line];

    return x && y && strcmp(x, y) == 0;
}

void mp_stream_adopt(struct mp_stream *s, struct mp_stream *old)
{
    MP_ASSERT(old->held == 0 && s->deadband.n + s->throttle.n == 0);
    MP_ASSERT(s->secret.k0 == old->secret.k0 && s->secret.k1 == old->secret.k1);
    if (same_line(s, old, MP_LINE_DEADBAND))
        adopt(&s->deadband, &old->deadband);
    if (same_line(s, old, MP_LINE_THROTTLE))
        adopt(&s->throttle, &old->throttle);
}

void mp_stream_forget(struct mp_stream *s)
{
    MP_ASSERT(s->held == 0);
    while (s->deadband.n)
        mp_lru_forget(&s->deadband, s->deadband.oldest);
    while (s->throttle.n)
        mp_lru_forget(&s->throttle, s->throttle.oldest);
}

/* ---- keys ---- */

/* The keys of an event; of lines that aren't there, unset. */
struct keys {
    struct mp_hash of[MP_STREAM_LINES];
};

static bool make_key(const struct mp_stream *s,
                     const struct mp_stream_event *event,
                     const struct mp_field_value *values,
                     enum mp_stream_line line, struct mp_hash *key)
{
    const struct mp_template *per = &s->lines->per[line];
    bool actor = line == MP_LINE_BATCH && event->has_key;
    struct mp_hasher h;
    char text[MP_KEY_MAX];
    int len = 0;

    *key = (struct mp_hash){0, 0};
    if (!per->n && !actor)
        return true;
    if (per->n)
        len =
            mp_template_fill(per, values, event->params, event->n_params, text);
    if (len < 0)
        return false;
    mp_hasher_init(&h, &s->secret);
    mp_hasher_add(&h, mp_slice(text, (size_t)len));
    if (actor)
        mp_hasher_add(&h, event->key);
    *key = mp_hasher_end(&h);
    return true;
}

static bool make_keys(const struct mp_stream *s,
                      const struct mp_stream_event *event,
                      const struct mp_field_value *values, struct keys *keys)
{
    for (int line = MP_LINE_DEADBAND; line < MP_STREAM_LINES; line++)
        if (mp_stream_lines_has(s->lines, (enum mp_stream_line)line) &&
            !make_key(s, event, values, (enum mp_stream_line)line,
                      &keys->of[line]))
            return false;
    return true;
}

/* The memory of a key, made if need be; the oldest makes room for it. */
static void *memory(struct mp_lru *l, struct mp_hash key, bool *fresh)
{
    uint32_t number = mp_lru_find(l, key);

    *fresh = !number;
    if (number) {
        mp_lru_seen(l, number);
        return mp_lru_at(l, number);
    }
    if (l->n == l->max)
        mp_lru_forget(l, l->oldest);
    return mp_lru_at(l, mp_lru_add(l, key));
}

/* ---- deadband ---- */

static struct last remember(const struct mp_stream *s,
                            const struct mp_field_value *v)
{
    struct last last = {.kind = (uint8_t)v->kind};

    switch (v->kind) {
    case MP_FIELD_BOOLEAN:
        last.truth = v->truth;
        break;
    case MP_FIELD_NUMBER:
        last.is_int = v->is_int;
        if (v->is_int)
            last.as.integer = v->integer;
        else
            last.as.real = v->real;
        break;
    case MP_FIELD_STRING:
    case MP_FIELD_TREE:
        last.as.hash = mp_hash64(&s->secret, v->text);
        break;
    default:
        break;
    }
    return last;
}

static double as_real(const struct last *n)
{
    return n->is_int ? (double)n->as.integer : n->as.real;
}

/* How far two numbers are apart.  What decimals lose by being doubles is
 * given back: 20.3 - 20.2 shall be 0.1 at least. */
static double distance(const struct last *a, const struct last *b)
{
    double x = as_real(a), y = as_real(b);

    if (a->is_int && b->is_int) {
        uint64_t m = (uint64_t)a->as.integer, n = (uint64_t)b->as.integer;

        return (double)(a->as.integer > b->as.integer ? m - n : n - m);
    }
    if (isnan(x) || isnan(y))
        return isnan(x) == isnan(y) ? 0 : HUGE_VAL;
    if (x == y)
        return 0;
    return fabs(x - y) + 4 * DBL_EPSILON * (fabs(x) + fabs(y));
}

static bool moved(const struct mp_deadband_field *line, const struct last *old,
                  const struct last *new)
{
    double step = line->step, far;

    if (new->kind == MP_FIELD_NONE)
        return false;
    if (new->kind != old->kind)
        return true;
    switch ((enum mp_field_kind) new->kind) {
    case MP_FIELD_BOOLEAN:
        return new->truth != old->truth;
    case MP_FIELD_NUMBER:
        if (line->percent)
            step *= fabs(as_real(old)) / 100;
        far = distance(old, new);
        return far > 0 && far >= step;
    case MP_FIELD_STRING:
    case MP_FIELD_TREE:
        return new->as.hash != old->as.hash;
    default:
        return false;
    }
}

static bool deadband(struct mp_stream *s, struct mp_hash key,
                     const struct mp_field_value *values, int64_t now_us)
{
    const struct mp_deadband *line = &s->lines->deadband;
    struct last now[MP_STREAM_DEADBAND_MAX];
    bool passes;
    struct band *band = memory(&s->deadband, key, &passes);

    for (unsigned i = 0; i < line->n; i++) {
        now[i] = remember(s, &values[line->fields[i].field]);
        passes = passes || moved(&line->fields[i], &band->last[i], &now[i]);
    }
    if (line->every_us && now_us - band->passed_us >= line->every_us)
        passes = true;
    if (!passes)
        return false;
    band->passed_us = now_us;
    for (unsigned i = 0; i < line->n; i++)
        if (now[i].kind != MP_FIELD_NONE)
            band->last[i] = now[i];
    return true;
}

/* ---- throttle ---- */

/*
 * A bucket is known by when it will be full again: a token taken moves that
 * on by what one costs, and there is none left when it would be further away
 * than all of them.  (GCRA, as in ITU-T I.371.)
 */
static bool throttle(struct mp_stream *s, struct mp_hash key, int64_t now_us)
{
    const struct mp_stream_lines *l = s->lines;
    int64_t now_ns = now_us * 1000, full_ns;
    bool fresh;
    struct bucket *b = memory(&s->throttle, key, &fresh);

    full_ns = fresh || b->full_ns < now_ns ? now_ns : b->full_ns;
    full_ns += l->throttle_ns;
    if (full_ns - now_ns > l->throttle_ns * (int64_t)l->throttle_depth)
        return false;
    b->full_ns = full_ns;
    return true;
}

/* ---- windows ---- */

static struct window *window_at(const struct mp_windows *w, uint32_t number)
{
    return mp_lru_at(&w->keys, number);
}

static void due_append(struct mp_windows *w, uint32_t number)
{
    struct window *one = window_at(w, number);

    one->sooner = w->last;
    one->later = 0;
    if (w->last)
        window_at(w, w->last)->later = number;
    else
        w->first = number;
    w->last = number;
}

static void due_take_out(struct mp_windows *w, const struct window *one)
{
    if (one->sooner)
        window_at(w, one->sooner)->later = one->later;
    else
        w->first = one->later;
    if (one->later)
        window_at(w, one->later)->sooner = one->sooner;
    else
        w->last = one->sooner;
}

/* There is room. */
static uint32_t window_open(struct mp_windows *w, struct mp_hash key,
                            int64_t now_us)
{
    uint32_t number = mp_lru_add(&w->keys, key);
    struct window *one = window_at(w, number);

    mp_list_init(&one->items);
    one->due_us = now_us + w->within_us;
    due_append(w, number);
    return number;
}

/* Its items are somewhere else already. */
static void window_close(struct mp_windows *w, uint32_t number)
{
    due_take_out(w, window_at(w, number));
    mp_lru_forget(&w->keys, number);
}

static void hold(struct mp_stream *s, struct mp_windows *w, uint32_t number,
                 struct mp_held *item)
{
    struct window *one = window_at(w, number);

    item->in = w == &s->batch ? MP_HELD_BATCH : MP_HELD_COALESCE;
    item->window = number;
    mp_list_append(&one->items, &item->link);
    one->n++;
    one->bytes += item->bytes;
    s->held++;
}

static void let_go(struct mp_stream *s, struct mp_held *item)
{
    struct window *one = window_at(
        item->in == MP_HELD_BATCH ? &s->batch : &s->coalesce, item->window);

    mp_list_unlink(&item->link);
    one->n--;
    one->bytes -= item->bytes;
    item->in = MP_HELD_NOT;
    s->held--;
}

static struct mp_held *first_of(const struct window *one)
{
    return mp_of(one->items.next, struct mp_held, link);
}

static void pass_one(struct mp_stream *s, struct mp_held *item)
{
    struct mp_link items;

    mp_list_init(&items);
    mp_list_append(&items, &item->link);
    s->user.pass(s->user.arg, &items, 1);
    MP_ASSERT(mp_list_empty(&items));
}

/* ---- batch ---- */

static void batch_let_go(struct mp_stream *s, uint32_t number)
{
    struct window *one = window_at(&s->batch, number);
    struct mp_link items;
    unsigned n = one->n;

    mp_list_init(&items);
    while (!mp_list_empty(&one->items)) {
        struct mp_held *item = first_of(one);

        let_go(s, item);
        mp_list_append(&items, &item->link);
    }
    window_close(&s->batch, number);
    s->user.pass(s->user.arg, &items, n);
    MP_ASSERT(mp_list_empty(&items));
}

static uint32_t batch_for(struct mp_stream *s, const struct mp_held *item,
                          int64_t now_us)
{
    struct mp_windows *w = &s->batch;
    uint32_t number = mp_lru_find(&w->keys, item->batch);

    if (number && (uint64_t)window_at(w, number)->bytes + item->bytes >
                      MP_STREAM_BATCH_BYTES) {
        batch_let_go(s, number);
        number = 0;
    }
    if (number) {
        mp_lru_seen(&w->keys, number);
        return number;
    }
    if (w->keys.n == w->keys.max)
        batch_let_go(s, w->keys.oldest);
    return window_open(w, item->batch, now_us);
}

/* Past coalesce. */
static void batch_put(struct mp_stream *s, struct mp_held *item, int64_t now_us)
{
    uint32_t number;

    if (!mp_stream_lines_has(s->lines, MP_LINE_BATCH)) {
        pass_one(s, item);
        return;
    }
    number = batch_for(s, item, now_us);
    hold(s, &s->batch, number, item);
    if (window_at(&s->batch, number)->n == s->lines->batch_max)
        batch_let_go(s, number);
}

/* ---- coalesce ---- */

static void coalesce_let_go(struct mp_stream *s, uint32_t number,
                            int64_t now_us)
{
    struct mp_held *item = first_of(window_at(&s->coalesce, number));

    let_go(s, item);
    window_close(&s->coalesce, number);
    batch_put(s, item, now_us);
}

static void coalesce_put(struct mp_stream *s, struct mp_held *item,
                         struct mp_hash key, int64_t now_us)
{
    struct mp_windows *w = &s->coalesce;
    uint32_t number = mp_lru_find(&w->keys, key);
    struct mp_held *before;
    struct window *one;

    if (!number) {
        if (w->keys.n == w->keys.max)
            coalesce_let_go(s, w->keys.oldest, now_us);
        hold(s, w, window_open(w, key, now_us), item);
        return;
    }
    mp_lru_seen(&w->keys, number);
    one = window_at(w, number);
    if (s->lines->settled) {
        due_take_out(w, one);
        one->due_us = now_us + w->within_us;
        due_append(w, number);
    }
    before = first_of(one);
    let_go(s, before);
    hold(s, w, number, item);
    s->user.skip(s->user.arg, before, MP_STREAM_COALESCE);
}

/* ---- an event ---- */

bool mp_stream_wants(const struct mp_stream_lines *l,
                     const struct mp_stream_event *event,
                     struct mp_stream_values *values)
{
    mp_fields_read(&l->fields, event->data, event->datacontenttype,
                   event->format, values->values);
    return mp_expr_run(&l->filter, values->values, event->params,
                       event->n_params);
}

/* The lines that let an event through or skip it.  -1: it passes; else why it
 * does not. */
static int judge(struct mp_stream *s, const struct keys *keys,
                 const struct mp_field_value *values, int64_t now_us)
{
    if (mp_stream_lines_has(s->lines, MP_LINE_DEADBAND) &&
        !deadband(s, keys->of[MP_LINE_DEADBAND], values, now_us))
        return MP_STREAM_DEADBAND;
    if (mp_stream_lines_has(s->lines, MP_LINE_THROTTLE) &&
        !throttle(s, keys->of[MP_LINE_THROTTLE], now_us))
        return MP_STREAM_THROTTLE;
    return -1;
}

static void make_item(struct mp_held *item, const struct mp_stream_event *event,
                      const struct keys *keys)
{
    size_t bytes =
        event->bytes > event->data.len ? event->bytes : event->data.len;

    item->in = MP_HELD_NOT;
    item->bytes = (uint32_t)bytes;
    item->batch = keys->of[MP_LINE_BATCH];
    mp_list_init(&item->link);
}

static void turn_to(struct mp_stream *s, int64_t now_us)
{
    if (mp_stream_next_us(s) <= now_us)
        mp_stream_turn(s, now_us);
}

int mp_stream_judge(struct mp_stream *s, struct mp_held *item,
                    const struct mp_stream_event *event,
                    const struct mp_stream_values *values, int64_t now_us)
{
    struct mp_stream_values own;
    struct keys keys = {0};

    if (!values && !mp_stream_wants(s->lines, event, &own))
        return MP_STREAM_FILTER;
    if (!make_keys(s, event, values ? values->values : own.values, &keys))
        return MP_STREAM_NO_KEY;
    make_item(item, event, &keys);
    return judge(s, &keys, values ? values->values : own.values, now_us);
}

int mp_stream_enter(struct mp_stream *s, struct mp_held *item,
                    enum mp_stream_line from,
                    const struct mp_stream_event *event,
                    const struct mp_stream_values *values, int64_t now_us)
{
    struct mp_stream_values own;
    struct keys keys = {0};

    if (!values)
        mp_fields_read(&s->lines->fields, event->data, event->datacontenttype,
                       event->format, own.values);
    if (!make_keys(s, event, values ? values->values : own.values, &keys))
        return MP_STREAM_NO_KEY;
    turn_to(s, now_us);
    make_item(item, event, &keys);
    if (from <= MP_LINE_COALESCE &&
        mp_stream_lines_has(s->lines, MP_LINE_COALESCE))
        coalesce_put(s, item, keys.of[MP_LINE_COALESCE], now_us);
    else
        batch_put(s, item, now_us);
    return -1;
}

bool mp_stream_mark(struct mp_stream *s, struct mp_held *item,
                    const struct mp_stream_event *event)
{
    struct mp_stream_values own;
    struct keys keys = {0};

    mp_fields_read(&s->lines->fields, event->data, event->datacontenttype,
                   event->format, own.values);
    if (!make_keys(s, event, own.values, &keys))
        return false;
    make_item(item, event, &keys);
    return true;
}

void mp_stream_put(struct mp_stream *s, struct mp_held *item,
                   const struct mp_stream_event *event,
                   const struct mp_stream_values *values, int64_t now_us)
{
    struct mp_stream_values own;
    int why;

    turn_to(s, now_us);
    item->in = MP_HELD_NOT;
    if (!values && !mp_stream_wants(s->lines, event, &own)) {
        s->user.skip(s->user.arg, item, MP_STREAM_FILTER);
        return;
    }
    if (!values)
        values = &own;
    why = mp_stream_judge(s, item, event, values, now_us);
    if (why < 0)
        why = mp_stream_enter(s, item, MP_LINE_COALESCE, event, values, now_us);
    if (why >= 0)
        s->user.skip(s->user.arg, item, (enum mp_stream_why)why);
}

/* ---- time ---- */

static int64_t due_of(const struct mp_windows *w)
{
    return w->first ? window_at(w, w->first)->due_us : INT64_MAX;
}

int64_t mp_stream_next_us(const struct mp_stream *s)
{
    int64_t coalesce = due_of(&s->coalesce), batch = due_of(&s->batch);

    return coalesce < batch ? coalesce : batch;
}

/* In the order of time, so that an event that coalesce lets go is not late
 * for a batch that ends after it. */
void mp_stream_turn(struct mp_stream *s, int64_t now_us)
{
    int64_t due;

    while ((due = mp_stream_next_us(s)) <= now_us) {
        if (due_of(&s->coalesce) == due)
            coalesce_let_go(s, s->coalesce.first, now_us);
        else
            batch_let_go(s, s->batch.first);
    }
}

void mp_stream_press(struct mp_stream *s, int64_t now_us)
{
    if (!s->held)
        return;
    if (due_of(&s->coalesce) <= due_of(&s->batch))
        coalesce_let_go(s, s->coalesce.first, now_us);
    else
        batch_let_go(s, s->batch.first);
}

void mp_stream_flush(struct mp_stream *s)
{
    while (s->coalesce.first)
        coalesce_let_go(s, s->coalesce.first,
                        window_at(&s->coalesce, s->coalesce.first)->due_us);
    while (s->batch.first)
        batch_let_go(s, s->batch.first);
}

bool mp_stream_remove(struct mp_stream *s, struct mp_held *item)
{
    struct mp_windows *w = item->in == MP_HELD_BATCH ? &s->batch : &s->coalesce;

    if (item->in == MP_HELD_NOT)
        return false;
    let_go(s, item);
    if (!window_at(w, item->window)->n)
        window_close(w, item->window);
    return true;
}
