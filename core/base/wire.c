/*
 * wire.c - frames as bytes and back.
 *
 * Each message is written by one function and read by the one below it, in
 * the same order of fields; nothing else knows the layout.
 */
#include "core/base/wire.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/utf8.h"

/* ---- primitives ---- */

size_t mp_frame_begin(struct mp_buf *b, enum mp_frame type)
{
    size_t mark = b->len;

    mp_put_u32(b, 0);
    mp_put_u8(b, (uint8_t)type);
    return mark;
}

void mp_frame_end(struct mp_buf *b, size_t mark)
{
    uint32_t len;

    if (b->full)
        return;
    len = (uint32_t)(b->len - mark - MP_FRAME_HEAD);
    memcpy(b->ptr + mark, &len, sizeof len);
}

int mp_frame_next(struct mp_slice bytes, uint8_t *type, struct mp_slice *body)
{
    uint32_t len;

    if (bytes.len < MP_FRAME_HEAD)
        return 0;
    memcpy(&len, bytes.ptr, sizeof len);
    if (len > MP_FRAME_MAX)
        return MP_EPARSE;
    if (bytes.len - MP_FRAME_HEAD < len)
        return 0;
    *type = (uint8_t)bytes.ptr[4];
    *body = mp_slice(bytes.ptr + MP_FRAME_HEAD, len);
    return (int)(MP_FRAME_HEAD + len);
}

/* A slice that may be absent: a byte tells. */
static void put_optional(struct mp_buf *b, struct mp_slice s)
{
    mp_put_u8(b, s.ptr != NULL);
    if (s.ptr)
        mp_put_slice(b, s);
}

static struct mp_slice get_optional(struct mp_reader *r)
{
    return mp_get_u8(r) ? mp_get_slice(r) : mp_slice(NULL, 0);
}

static bool get_bool(struct mp_reader *r)
{
    uint8_t n = mp_get_u8(r);

    if (n > 1)
        r->bad = true;
    return n == 1;
}

/* A number below end, or the reader is bad. */
static unsigned get_below(struct mp_reader *r, unsigned end)
{
    unsigned n = mp_get_u8(r);

    if (n >= end) {
        r->bad = true;
        return 0;
    }
    return n;
}

/* A count up to max, or the reader is bad. */
static uint32_t get_count(struct mp_reader *r, uint32_t max)
{
    uint32_t n = mp_get_u32(r);

    if (n > max) {
        r->bad = true;
        return 0;
    }
    return n;
}

static void put_pairs(struct mp_buf *b, const struct mp_pair *pairs, uint32_t n)
{
    mp_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        mp_put_slice(b, pairs[i].name);
        mp_put_slice(b, pairs[i].value);
    }
}

static uint32_t get_pairs(struct mp_reader *r, struct mp_pair *pairs,
                          uint32_t max)
{
    uint32_t n = get_count(r, max);

    for (uint32_t i = 0; i < n; i++) {
        pairs[i].name = mp_get_slice(r);
        pairs[i].value = mp_get_slice(r);
    }
    return n;
}

static void put_slices(struct mp_buf *b, const struct mp_slice *s, uint32_t n)
{
    mp_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++)
        mp_put_slice(b, s[i]);
}

static uint32_t get_slices(struct mp_reader *r, struct mp_slice *s,
                           uint32_t max)
{
    uint32_t n = get_count(r, max);

    for (uint32_t i = 0; i < n; i++)
        s[i] = mp_get_slice(r);
    return n;
}

/* Everything was there and nothing is left over. */
static int finish(const struct mp_reader *r)
{
    return r->bad || r->at != r->end ? MP_EPARSE : 0;
}

/* ---- values, events ---- */

void mp_put_value(struct mp_buf *b, const struct mp_value *v)
{
    uint64_t bits;

    mp_put_u8(b, (uint8_t)v->kind);
    switch (v->kind) {
    case MP_VALUE_NONE:
        break;
    case MP_VALUE_INTEGER:
    case MP_VALUE_BOOLEAN:
        mp_put_u64(b, (uint64_t)v->integer);
        break;
    case MP_VALUE_FLOAT:
        memcpy(&bits, &v->number, sizeof bits);
        mp_put_u64(b, bits);
        break;
    default:
        mp_put_slice(b, v->text);
        break;
    }
}

struct mp_value mp_get_value(struct mp_reader *r)
{
    struct mp_value v = {0};
    uint64_t bits;

    v.kind = (enum mp_value_kind)get_below(r, MP_VALUE_KINDS);
    switch (v.kind) {
    case MP_VALUE_NONE:
        break;
    case MP_VALUE_INTEGER:
        v.integer = (int64_t)mp_get_u64(r);
        break;
    case MP_VALUE_BOOLEAN:
        bits = mp_get_u64(r);
        r->bad |= bits > 1;
        v.integer = bits == 1;
        break;
    case MP_VALUE_FLOAT:
        bits = mp_get_u64(r);
        memcpy(&v.number, &bits, sizeof bits);
        break;
    default:
        v.text = mp_get_slice(r);
        break;
    }
    return v;
}

void mp_put_entry(struct mp_buf *b, const struct mp_entry *e)
{
    mp_put_slice(b, e->name);
    mp_put_u64(b, (uint64_t)e->expires_us);
    mp_put_value(b, &e->value);
}

struct mp_entry mp_get_entry(struct mp_reader *r)
{
    struct mp_entry e;

    e.name = mp_get_slice(r);
    e.expires_us = (int64_t)mp_get_u64(r);
    e.value = mp_get_value(r);
    return e;
}

/* What only timers and requests have; a bit of the type says that it is
 * there. */
enum { MORE = 0x80 };

static bool has_more(const struct mp_event *e)
{
    return e->path.ptr || e->missed;
}

static void put_more(struct mp_buf *b, const struct mp_event *e)
{
    mp_put_u32(b, e->missed);
    put_optional(b, e->method);
    put_optional(b, e->path);
    put_optional(b, e->peer);
    put_optional(b, e->identity);
    put_pairs(b, e->query, e->n_query);
    put_pairs(b, e->headers, e->n_headers);
}

static void get_more(struct mp_reader *r, struct mp_event *e,
                     struct mp_pair *pairs)
{
    e->missed = mp_get_u32(r);
    e->method = get_optional(r);
    e->path = get_optional(r);
    e->peer = get_optional(r);
    e->identity = get_optional(r);
    e->query = pairs;
    e->n_query = get_pairs(r, pairs, MP_PAIRS_MAX);
    e->headers = pairs + MP_PAIRS_MAX;
    e->n_headers = get_pairs(r, pairs + MP_PAIRS_MAX, MP_PAIRS_MAX);
}

void mp_put_event(struct mp_buf *b, const struct mp_event *e)
{
    mp_put_u8(b, (uint8_t)e->type | (has_more(e) ? MORE : 0));
    mp_put_u8(b, (uint8_t)e->format);
    mp_put_u8(b, e->qos);
    mp_put_u8(b, e->retained);
    mp_put_u8(b, e->has_expiry);
    mp_put_u8(b, e->has_key);
    mp_put_u8(b, e->given_id);
    mp_put_u32(b, e->expiry_s);
    mp_put_u32(b, e->attempt);
    mp_put_u64(b, (uint64_t)e->time_us);
    mp_put_u64(b, (uint64_t)e->scheduled_us);
    mp_put_slice(b, e->id);
    mp_put_slice(b, e->source);
    mp_put_slice(b, e->subject);
    mp_put_slice(b, e->trigger);
    mp_put_slice(b, e->key);
    mp_put_slice(b, e->data);
    put_optional(b, e->datacontenttype);
    put_optional(b, e->traceparent);
    put_optional(b, e->alarm);
    mp_put_slice(b, e->topic);
    put_pairs(b, e->params, e->n_params);
    put_pairs(b, e->properties, e->n_properties);
    if (has_more(e))
        put_more(b, e);
}

void mp_get_event(struct mp_reader *r, struct mp_event *e,
                  struct mp_pair *pairs)
{
    uint8_t type = mp_get_u8(r);

    *e = (struct mp_event){.type = type & ~MORE};
    if (e->type >= MP_EVENT_TYPES) {
        e->type = MP_EVENT_MQTT;
        r->bad = true;
    }
    e->format = (enum mp_format)get_below(r, MP_FORMATS);
    e->qos = (uint8_t)get_below(r, 3);
    e->retained = get_bool(r);
    e->has_expiry = get_bool(r);
    e->has_key = get_bool(r);
    e->given_id = get_bool(r);
    e->expiry_s = mp_get_u32(r);
    e->attempt = mp_get_u32(r);
    e->time_us = (int64_t)mp_get_u64(r);
    e->scheduled_us = (int64_t)mp_get_u64(r);
    e->id = mp_get_slice(r);
    e->source = mp_get_slice(r);
    e->subject = mp_get_slice(r);
    e->trigger = mp_get_slice(r);
    e->key = mp_get_slice(r);
    e->data = mp_get_slice(r);
    e->datacontenttype = get_optional(r);
    e->traceparent = get_optional(r);
    e->alarm = get_optional(r);
    e->topic = mp_get_slice(r);
    e->params = pairs;
    e->n_params = get_pairs(r, pairs, MP_PAIRS_MAX);
    e->properties = pairs + MP_PAIRS_MAX;
    e->n_properties = get_pairs(r, pairs + MP_PAIRS_MAX, MP_PAIRS_MAX);
    if (type & MORE)
        get_more(r, e, pairs + 2 * MP_PAIRS_MAX);
}

/* ---- LOAD, UNLOAD ---- */

enum { ENV_MAX = 1024, GRANTS_MAX = 1024, SECRETS_MAX = 1024 };

void mp_wire_load(struct mp_buf *b, const struct mp_load *load)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_LOAD);

    mp_put_u64(b, load->id);
    mp_put_u32(b, load->fn);
    mp_put_slice(b, load->name);
    mp_put_slice(b, load->version);
    mp_put_slice(b, load->node);
    mp_put_slice(b, load->zone);
    mp_put_slice(b, load->prefix);
    mp_put_u32(b, load->memory);
    mp_put_u32(b, load->outputs);
    mp_put_u32(b, load->output_bytes);
    mp_put_u32(b, load->log_bytes);
    mp_put_u64(b, (uint64_t)load->fake_wall_us);
    put_pairs(b, load->env, load->n_env);
    put_pairs(b, load->files, load->n_files);
    put_slices(b, load->grants, load->n_grants);
    put_slices(b, load->triggers, load->n_triggers);
    put_slices(b, load->sends, load->n_sends);
    mp_put_u8(b, load->has_state);
    mp_put_u8(b, load->has_key);
    mp_put_u64(b, load->state_quota);
    put_pairs(b, load->secrets, load->n_secrets);
    put_slices(b, load->observes, load->n_observes);
    mp_frame_end(b, mark);
}

/* A list at the start of what is left of an array. */
static uint32_t take_pairs(struct mp_reader *r, const struct mp_pair **list,
                           struct mp_pair **left, uint32_t max)
{
    uint32_t n = get_pairs(r, *left, max);

    *list = *left;
    *left += n;
    return n;
}

static uint32_t take_slices(struct mp_reader *r, const struct mp_slice **list,
                            struct mp_slice **left, uint32_t max)
{
    uint32_t n = get_slices(r, *left, max);

    *list = *left;
    *left += n;
    return n;
}

int mp_read_load(struct mp_slice body, struct mp_load *load,
                 struct mp_load_store *store)
{
    struct mp_reader r = mp_reader(body);
    struct mp_slice *slices;
    struct mp_pair *pairs;

    *load = (struct mp_load){0};
    pairs = store->pairs = mp_alloc((ENV_MAX + MP_FILES_MAX + SECRETS_MAX) *
                                    sizeof(struct mp_pair));
    slices = store->slices = mp_alloc((2 * GRANTS_MAX + 2 * MP_TRIGGERS_MAX) *
                                      sizeof(struct mp_slice));
    load->id = mp_get_u64(&r);
    load->fn = mp_get_u32(&r);
    load->name = mp_get_slice(&r);
    load->version = mp_get_slice(&r);
    load->node = mp_get_slice(&r);
    load->zone = mp_get_slice(&r);
    load->prefix = mp_get_slice(&r);
    load->memory = mp_get_u32(&r);
    load->outputs = mp_get_u32(&r);
    load->output_bytes = mp_get_u32(&r);
    load->log_bytes = mp_get_u32(&r);
    load->fake_wall_us = (int64_t)mp_get_u64(&r);
    load->n_env = take_pairs(&r, &load->env, &pairs, ENV_MAX);
    load->n_files = take_pairs(&r, &load->files, &pairs, MP_FILES_MAX);
    load->n_grants = take_slices(&r, &load->grants, &slices, GRANTS_MAX);
    load->n_triggers =
        take_slices(&r, &load->triggers, &slices, MP_TRIGGERS_MAX);
    load->n_sends = take_slices(&r, &load->sends, &slices, GRANTS_MAX);
    load->has_state = get_bool(&r);
    load->has_key = get_bool(&r);
    load->state_quota = mp_get_u64(&r);
    load->n_secrets = take_pairs(&r, &load->secrets, &pairs, SECRETS_MAX);
    load->n_observes =
        take_slices(&r, &load->observes, &slices, MP_TRIGGERS_MAX);
    if (finish(&r)) {
        mp_load_fini(store);
        return MP_EPARSE;
    }
    return 0;
}

void mp_load_fini(struct mp_load_store *store)
{
    free(store->pairs);
    free(store->slices);
    *store = (struct mp_load_store){0};
}

void mp_wire_unload(struct mp_buf *b, uint32_t fn)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_UNLOAD);

    mp_put_u32(b, fn);
    mp_frame_end(b, mark);
}

int mp_read_unload(struct mp_slice body, uint32_t *fn)
{
    struct mp_reader r = mp_reader(body);

    *fn = mp_get_u32(&r);
    return finish(&r);
}

/* ---- RUN, RESUME, CANCEL ---- */

static void put_events(struct mp_buf *b, const struct mp_event *batch)
{
    mp_put_u32(b, batch->n_events);
    for (uint32_t i = 0; i < batch->n_events; i++)
        mp_put_event(b, &batch->events[i]);
}

static uint32_t count_pairs(const struct mp_event *e)
{
    return e->n_params + e->n_properties + e->n_query + e->n_headers;
}

/* How many pairs the next n events have in all. */
static size_t count_ahead(struct mp_reader *r, uint32_t n)
{
    struct mp_reader ahead = *r;
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_event e;
    size_t sum = 0;

    for (uint32_t i = 0; i < n && !ahead.bad; i++) {
        mp_get_event(&ahead, &e, pairs);
        ahead.bad |= e.type == MP_EVENT_BATCH; /* none within another */
        sum += count_pairs(&e);
    }
    r->bad |= ahead.bad;
    return sum;
}

static void keep(const struct mp_pair **list, uint32_t n, struct mp_pair **at)
{
    if (n)
        memcpy(*at, *list, n * sizeof **at);
    *list = *at;
    *at += n;
}

/* Read twice: pairs are few, and room for all there may be is megabytes. */
static void get_events(struct mp_reader *r, struct mp_event *batch,
                       struct mp_run_store *store)
{
    uint32_t n = get_count(r, MP_BATCH_MAX);
    size_t n_pairs = count_ahead(r, n);
    struct mp_pair pairs[MP_EVENT_PAIRS], *at;

    if (r->bad)
        return;
    store->events = mp_alloc(n * sizeof *store->events + n_pairs * sizeof *at);
    at = (struct mp_pair *)(store->events + n);
    for (uint32_t i = 0; i < n; i++) {
        struct mp_event *e = &store->events[i];

        mp_get_event(r, e, pairs);
        keep(&e->params, e->n_params, &at);
        keep(&e->properties, e->n_properties, &at);
        keep(&e->query, e->n_query, &at);
        keep(&e->headers, e->n_headers, &at);
    }
    batch->events = store->events;
    batch->n_events = n;
}

void mp_wire_run(struct mp_buf *b, const struct mp_run *run)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_RUN);

    mp_put_u64(b, run->id);
    mp_put_u32(b, run->fn);
    mp_put_u64(b, (uint64_t)run->fake_wall_us);
    mp_put_u8(b, run->clock_ok);
    mp_put_event(b, &run->event);
    if (run->event.type == MP_EVENT_BATCH)
        put_events(b, &run->event);
    mp_put_u8(b, run->state.complete);
    mp_put_u64(b, (uint64_t)run->state.left);
    mp_put_u32(b, run->state.n);
    mp_put_slice(b, run->state.entries);
    mp_frame_end(b, mark);
}

int mp_read_run(struct mp_slice body, struct mp_run *run,
                struct mp_run_store *store)
{
    struct mp_reader r = mp_reader(body);

    *run = (struct mp_run){0};
    store->events = NULL;
    run->id = mp_get_u64(&r);
    run->fn = mp_get_u32(&r);
    run->fake_wall_us = (int64_t)mp_get_u64(&r);
    run->clock_ok = get_bool(&r);
    mp_get_event(&r, &run->event, store->pairs);
    if (run->event.type == MP_EVENT_BATCH)
        get_events(&r, &run->event, store);
    run->state.complete = get_bool(&r);
    run->state.left = (int64_t)mp_get_u64(&r);
    run->state.n = mp_get_u32(&r);
    run->state.entries = mp_get_slice(&r);
    if (finish(&r)) {
        mp_run_fini(store);
        return MP_EPARSE;
    }
    return 0;
}

void mp_run_fini(struct mp_run_store *store)
{
    if (!store->events)
        return;
    free(store->events);
    store->events = NULL;
}

void mp_wire_resume(struct mp_buf *b, const struct mp_resume *resume)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_RESUME);

    mp_put_u64(b, resume->run);
    mp_put_u64(b, (uint64_t)resume->fake_wall_us);
    mp_put_u8(b, resume->more);
    mp_put_u32(b, resume->n);
    mp_put_slice(b, resume->entries);
    mp_put_slice(b, resume->error);
    mp_frame_end(b, mark);
}

int mp_read_resume(struct mp_slice body, struct mp_resume *resume)
{
    struct mp_reader r = mp_reader(body);

    resume->run = mp_get_u64(&r);
    resume->fake_wall_us = (int64_t)mp_get_u64(&r);
    resume->more = get_bool(&r);
    resume->n = mp_get_u32(&r);
    resume->entries = mp_get_slice(&r);
    resume->error = mp_get_slice(&r);
    return finish(&r);
}

void mp_wire_cancel(struct mp_buf *b, uint64_t run)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_CANCEL);

    mp_put_u64(b, run);
    mp_frame_end(b, mark);
}

int mp_read_cancel(struct mp_slice body, uint64_t *run)
{
    struct mp_reader r = mp_reader(body);

    *run = mp_get_u64(&r);
    return finish(&r);
}

/* ---- READY, LOADED, WAIT, DONE ---- */

void mp_wire_ready(struct mp_buf *b)
{
    mp_frame_end(b, mp_frame_begin(b, MP_FRAME_READY));
}

void mp_wire_loaded(struct mp_buf *b, const struct mp_loaded *loaded)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_LOADED);

    mp_put_u64(b, loaded->id);
    mp_put_u32(b, loaded->fn);
    mp_put_u8(b, (uint8_t)loaded->kind);
    mp_put_u32(b, loaded->image_bytes);
    mp_put_u32(b, loaded->load_us);
    mp_put_u8(b, loaded->single);
    mp_put_slice(b, loaded->error);
    mp_put_slice(b, loaded->traceback);
    put_slices(b, loaded->handlers, loaded->n_handlers);
    mp_put_u32(b, loaded->n_logs);
    mp_put_u32(b, loaded->logs_cut);
    mp_put_slice(b, loaded->logs);
    mp_frame_end(b, mark);
}

/* What is kept of an error, for long: the texts are as short as the worker
 * makes them, or they are a lie. */
static void get_error(struct mp_reader *r, struct mp_slice *error,
                      struct mp_slice *traceback)
{
    *error = mp_get_slice(r);
    *traceback = mp_get_slice(r);
    if (error->len > MP_ERROR_MAX || traceback->len > MP_TRACEBACK_MAX)
        r->bad = true;
}

int mp_read_loaded(struct mp_slice body, struct mp_loaded *loaded,
                   struct mp_slice *names)
{
    struct mp_reader r = mp_reader(body);

    *loaded = (struct mp_loaded){0};
    loaded->id = mp_get_u64(&r);
    loaded->fn = mp_get_u32(&r);
    loaded->kind = (enum mp_kind)get_below(&r, MP_OUT_KINDS);
    loaded->image_bytes = mp_get_u32(&r);
    loaded->load_us = mp_get_u32(&r);
    loaded->single = get_bool(&r);
    get_error(&r, &loaded->error, &loaded->traceback);
    loaded->handlers = names;
    loaded->n_handlers = get_slices(&r, names, MP_TRIGGERS_MAX);
    loaded->n_logs = mp_get_u32(&r);
    loaded->logs_cut = mp_get_u32(&r);
    loaded->logs = mp_get_slice(&r);
    return finish(&r);
}

void mp_wire_wait(struct mp_buf *b, const struct mp_wait *wait)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_WAIT);

    mp_put_u64(b, wait->run);
    mp_put_u8(b, (uint8_t)wait->kind);
    mp_put_u64(b, (uint64_t)wait->delay_us);
    mp_put_u8(b, wait->of);
    mp_put_slice(b, wait->key);
    mp_put_slice(b, wait->name);
    mp_put_slice(b, wait->after);
    mp_put_u32(b, wait->limit);
    mp_put_u32(b, wait->run_ns);
    mp_put_u32(b, wait->memory);
    mp_frame_end(b, mark);
}

int mp_read_wait(struct mp_slice body, struct mp_wait *wait)
{
    struct mp_reader r = mp_reader(body);

    wait->run = mp_get_u64(&r);
    wait->kind = (enum mp_wait_kind)get_below(&r, MP_WAIT_KINDS);
    wait->delay_us = (int64_t)mp_get_u64(&r);
    wait->of = get_bool(&r);
    wait->key = mp_get_slice(&r);
    wait->name = mp_get_slice(&r);
    wait->after = mp_get_slice(&r);
    wait->limit = mp_get_u32(&r);
    wait->run_ns = mp_get_u32(&r);
    wait->memory = mp_get_u32(&r);
    if (wait->kind == 0 || wait->delay_us < 0 || wait->key.len > MP_KEY_MAX ||
        wait->name.len > MP_STATE_NAME_MAX ||
        wait->after.len > MP_STATE_NAME_MAX || wait->limit > MP_ACTORS_MAX)
        return MP_EPARSE;
    return finish(&r);
}

void mp_wire_done(struct mp_buf *b, const struct mp_outcome *out)
{
    size_t mark = mp_frame_begin(b, MP_FRAME_DONE);

    mp_put_u64(b, out->run);
    mp_put_u8(b, (uint8_t)out->kind);
    mp_put_u8(b, (uint8_t)out->did);
    mp_put_u64(b, (uint64_t)out->retry_after_us);
    mp_put_u32(b, out->status);
    mp_put_u32(b, out->copy_ns);
    mp_put_u32(b, out->run_ns);
    mp_put_u32(b, out->memory);
    mp_put_slice(b, out->error);
    mp_put_slice(b, out->traceback);
    mp_put_u8(b, (uint8_t)out->result_kind);
    mp_put_u8(b, (uint8_t)out->result_format);
    mp_put_slice(b, out->result);
    mp_put_u32(b, out->n_headers);
    mp_put_slice(b, out->headers);
    mp_put_u64(b, (uint64_t)out->max_age_us);
    mp_put_u32(b, out->n_verdicts);
    mp_put_slice(b, out->verdicts);
    mp_put_u32(b, out->n_effects);
    mp_put_slice(b, out->effects);
    mp_put_u32(b, out->n_logs);
    mp_put_u32(b, out->logs_cut);
    mp_put_slice(b, out->logs);
    mp_frame_end(b, mark);
}

int mp_read_done(struct mp_slice body, struct mp_outcome *out)
{
    struct mp_reader r = mp_reader(body);

    out->run = mp_get_u64(&r);
    out->kind = (enum mp_kind)get_below(&r, MP_OUT_KINDS);
    out->did = get_below(&r, 8);
    out->retry_after_us = (int64_t)mp_get_u64(&r);
    out->status = mp_get_u32(&r);
    out->copy_ns = mp_get_u32(&r);
    out->run_ns = mp_get_u32(&r);
    out->memory = mp_get_u32(&r);
    get_error(&r, &out->error, &out->traceback);
    out->result_kind = (enum mp_result_kind)get_below(&r, MP_RESULT_REPLY + 1);
    out->result_format = (enum mp_format)get_below(&r, MP_FORMATS);
    out->result = mp_get_slice(&r);
    out->n_headers = mp_get_u32(&r);
    out->headers = mp_get_slice(&r);
    out->max_age_us = (int64_t)mp_get_u64(&r);
    out->n_verdicts = get_count(&r, MP_BATCH_MAX);
    out->verdicts = mp_get_slice(&r);
    out->n_effects = mp_get_u32(&r);
    out->effects = mp_get_slice(&r);
    out->n_logs = mp_get_u32(&r);
    out->logs_cut = mp_get_u32(&r);
    out->logs = mp_get_slice(&r);
    return finish(&r);
}

void mp_put_headers(struct mp_buf *b, const struct mp_pair *headers, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        mp_put_slice(b, headers[i].name);
        mp_put_slice(b, headers[i].value);
    }
}

int mp_read_headers(const struct mp_outcome *out, struct mp_pair *headers)
{
    struct mp_reader r = mp_reader(out->headers);

    if (out->n_headers > MP_PAIRS_MAX)
        return MP_EPARSE;
    for (uint32_t i = 0; i < out->n_headers; i++) {
        headers[i].name = mp_get_slice(&r);
        headers[i].value = mp_get_slice(&r);
    }
    return finish(&r);
}

/* ---- effects, verdicts and log lines ---- */

static void put_publish(struct mp_buf *b, const struct mp_effect *effect)
{
    mp_put_slice(b, effect->topic);
    mp_put_slice(b, effect->data);
    mp_put_u8(b, (uint8_t)effect->format);
    mp_put_u8(b, effect->qos);
    mp_put_u8(b, effect->retain);
    mp_put_u8(b, effect->has_expiry);
    mp_put_u32(b, effect->expiry_s);
    put_pairs(b, effect->properties, effect->n_properties);
}

static void get_publish(struct mp_reader *r, struct mp_effect *effect,
                        struct mp_pair *pairs)
{
    effect->topic = mp_get_slice(r);
    effect->data = mp_get_slice(r);
    effect->format = (enum mp_format)get_below(r, MP_FORMATS);
    effect->qos = (uint8_t)get_below(r, 2);
    effect->retain = get_bool(r);
    effect->has_expiry = get_bool(r);
    effect->expiry_s = mp_get_u32(r);
    effect->properties = pairs;
    effect->n_properties = get_pairs(r, pairs, MP_PAIRS_MAX);
}

static void put_notify(struct mp_buf *b, const struct mp_effect *effect)
{
    mp_put_slice(b, effect->topic);
    mp_put_slice(b, effect->data);
    mp_put_u8(b, (uint8_t)effect->format);
    mp_put_u64(b, (uint64_t)effect->max_age_us);
}

static void get_notify(struct mp_reader *r, struct mp_effect *effect)
{
    effect->topic = mp_get_slice(r);
    effect->data = mp_get_slice(r);
    effect->format = (enum mp_format)get_below(r, MP_FORMATS);
    effect->max_age_us = (int64_t)mp_get_u64(r);
    if (effect->max_age_us < 0 || effect->topic.len > MP_TOPIC_MAX)
        r->bad = true;
}

void mp_wire_put_effect(struct mp_buf *b, const struct mp_effect *effect)
{
    mp_put_u8(b, (uint8_t)effect->kind);
    if (effect->kind == MP_EFFECT_PUBLISH) {
        put_publish(b, effect);
        return;
    }
    if (effect->kind == MP_EFFECT_NOTIFY) {
        put_notify(b, effect);
        return;
    }
    mp_put_slice(b, effect->name);
    mp_put_u8(b, effect->has_key);
    mp_put_slice(b, effect->key);
    if (effect->kind == MP_EFFECT_STATE) {
        mp_put_u8(b, (uint8_t)effect->op);
        mp_put_value(b, &effect->value);
        mp_put_u64(b, (uint64_t)effect->ttl_us);
        return;
    }
    mp_put_slice(b, effect->data);
    mp_put_u8(b, (uint8_t)effect->format);
    mp_put_u64(b, (uint64_t)effect->delay_us);
    mp_put_u8(b, effect->cancel);
    mp_put_u64(b, (uint64_t)effect->after_us);
    mp_put_u64(b, (uint64_t)effect->at_us);
    mp_put_u64(b, (uint64_t)effect->slack_us);
}

/* Bounds that a worker keeps to unless it lies. */
static bool within(struct mp_slice s, size_t least, size_t most)
{
    return s.len >= least && s.len <= most && mp_utf8_valid(s);
}

static bool is_sane_change(const struct mp_effect *e)
{
    const struct mp_value *v = &e->value;

    return within(e->name, 1, MP_STATE_NAME_MAX) && e->ttl_us >= 0 &&
           v->text.len <= MP_STATE_VALUE_MAX &&
           (v->kind != MP_VALUE_FLOAT || isfinite(v->number));
}

static bool is_sane_event(const struct mp_effect *e)
{
    if (e->delay_us < 0 || e->slack_us < 0 || e->after_us < -1 || e->at_us < 0)
        return false;
    if (e->kind == MP_EFFECT_SEND)
        return within(e->name, 1, MP_NAME_MAX);
    return within(e->name, 1, MP_ALARM_NAME_MAX) &&
           e->data.len <= MP_ALARM_DATA_MAX;
}

int mp_read_effect(struct mp_reader *r, struct mp_effect *effect,
                   struct mp_pair *pairs)
{
    bool sane;

    *effect = (struct mp_effect){0};
    effect->kind = (enum mp_effect_kind)get_below(r, MP_EFFECT_KINDS);
    if (effect->kind == MP_EFFECT_PUBLISH) {
        get_publish(r, effect, pairs);
        return r->bad ? MP_EPARSE : 0;
    }
    if (effect->kind == MP_EFFECT_NOTIFY) {
        get_notify(r, effect);
        return r->bad ? MP_EPARSE : 0;
    }
    effect->name = mp_get_slice(r);
    effect->has_key = get_bool(r);
    effect->key = mp_get_slice(r);
    if (effect->kind == MP_EFFECT_STATE) {
        effect->op = (enum mp_state_op)get_below(r, MP_STATE_OPS);
        effect->value = mp_get_value(r);
        effect->ttl_us = (int64_t)mp_get_u64(r);
        sane = is_sane_change(effect);
    } else {
        effect->data = mp_get_slice(r);
        effect->format = (enum mp_format)get_below(r, MP_FORMATS);
        effect->delay_us = (int64_t)mp_get_u64(r);
        effect->cancel = get_bool(r);
        effect->after_us = (int64_t)mp_get_u64(r);
        effect->at_us = (int64_t)mp_get_u64(r);
        effect->slack_us = (int64_t)mp_get_u64(r);
        sane = is_sane_event(effect);
    }
    if (!sane || effect->kind == 0 || !within(effect->key, 0, MP_KEY_MAX))
        r->bad = true;
    return r->bad ? MP_EPARSE : 0;
}

void mp_wire_put_verdict(struct mp_buf *b, const struct mp_verdict *verdict)
{
    mp_put_u32(b, verdict->event);
    mp_put_u8(b, verdict->retry);
    mp_put_slice(b, verdict->reason);
}

int mp_read_verdict(struct mp_reader *r, struct mp_verdict *verdict)
{
    verdict->event = mp_get_u32(r);
    verdict->retry = get_bool(r);
    verdict->reason = mp_get_slice(r);
    if (verdict->event >= MP_BATCH_MAX || verdict->reason.len > MP_REASON_MAX)
        r->bad = true;
    return r->bad ? MP_EPARSE : 0;
}

void mp_wire_put_log(struct mp_buf *b, const struct mp_log_line *line)
{
    mp_put_u8(b, (uint8_t)line->level);
    mp_put_slice(b, line->message);
    put_pairs(b, line->fields, line->n_fields);
}

int mp_read_log(struct mp_reader *r, struct mp_log_line *line,
                struct mp_pair *pairs)
{
    line->level = (enum mp_level)get_below(r, MP_LEVELS);
    line->message = mp_get_slice(r);
    line->fields = pairs;
    line->n_fields = get_pairs(r, pairs, 16);
    return r->bad ? MP_EPARSE : 0;
}
