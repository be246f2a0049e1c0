/*
 * queue_row.c - a row of the queue as bytes, and back.
 *
 * The event is what functions see of it (core/base/wire.h); behind it stands
 * what only the host wants to know:
 *
 *     event | 3 u8 | hops u32 | response topic? | correlation?
 *                  | received_us u64 | exchange? | exchange_us u64
 *
 * exchange_us only where there is one: few are requests.  Rows of versions 1
 * and 2 are still read: the first ends before received_us; the second has,
 * instead of it, exchange (always) and exchange_us.
 */
#include "core/queue_impl.h"

enum {
    ROW_COST = 160,     /* of a row and its place in the index */
    EXTRAS_VERSION = 3, /* of what stands behind the event */
    EXTRAS_BARE = 1,    /* earlier ones */
    EXTRAS_EXCHANGE = 2,
};

static uint64_t pair_bytes(const struct mp_pair *pairs, uint32_t n)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += pairs[i].name.len + pairs[i].value.len;
    return bytes;
}

uint64_t mp_row_bytes(const struct mp_row *row)
{
    const struct mp_event *e = &row->event;

    return ROW_COST + e->id.len + e->source.len + e->subject.len +
           e->trigger.len + e->key.len + e->data.len + e->topic.len +
           e->path.len + e->peer.len + e->identity.len +
           pair_bytes(e->params, e->n_params) +
           pair_bytes(e->properties, e->n_properties) +
           pair_bytes(e->query, e->n_query) +
           pair_bytes(e->headers, e->n_headers) + row->response_topic.len +
           row->correlation.len + row->exchange.len;
}

/* The event, and behind it what only the host wants to know of it. */
static void put_event(struct mp_buf *b, const struct mp_row *row)
{
    mp_put_event(b, &row->event);
    mp_put_u8(b, EXTRAS_VERSION);
    mp_put_u32(b, row->hops);
    mp_put_optional(b, row->response_topic);
    mp_put_optional(b, row->correlation);
    mp_put_u64(b, (uint64_t)row->received_us);
    mp_put_optional(b, row->exchange);
    if (row->exchange.ptr)
        mp_put_u64(b, (uint64_t)row->exchange_us);
}

int mp_row_get_event(struct mp_slice bytes, struct mp_row *row,
                     struct mp_pair *pairs)
{
    struct mp_reader r = mp_reader(bytes);
    uint8_t version;

    mp_get_event(&r, &row->event, pairs);
    version = mp_get_u8(&r);
    if (version < EXTRAS_BARE || version > EXTRAS_VERSION)
        return MP_EPARSE;
    row->hops = mp_get_u32(&r);
    row->response_topic = mp_get_optional(&r);
    row->correlation = mp_get_optional(&r);
    if (version == EXTRAS_EXCHANGE) {
        row->exchange = mp_get_slice(&r);
    } else if (version == EXTRAS_VERSION) {
        row->received_us = (int64_t)mp_get_u64(&r);
        row->exchange = mp_get_optional(&r);
    }
    if (row->exchange.ptr)
        row->exchange_us = (int64_t)mp_get_u64(&r);
    row->event.attempt = row->attempt;
    return r.bad || r.at != r.end ? MP_EPARSE : 0;
}

void mp_row_put(struct mp_batch *b, const struct mp_row *row, uint64_t bytes,
                struct mp_buf *scratch)
{
    mp_buf_reset(scratch);
    put_event(scratch, row);
    mp_batch_op(b, MP_SQL_QUEUE_PUT);
    mp_batch_int(b, row->id);
    mp_batch_text(b, row->fn);
    if (row->has_okey)
        mp_batch_blob(b, row->okey.ptr ? row->okey : MP_S(""));
    else
        mp_batch_null(b);
    mp_batch_int(b, row->due_us);
    mp_batch_int(b, row->attempt);
    mp_batch_text(b, row->reason);
    mp_batch_int(b, (int64_t)bytes);
    mp_batch_blob(b, mp_buf_bytes(scratch));
}

static const char REPLAY[] = "replay";

bool mp_row_is_replay(struct mp_slice reason)
{
    return mp_slice_is(reason, REPLAY);
}

const char *mp_row_reason(struct mp_slice reason)
{
    static const char *const others[] = {"send", REPLAY};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (mp_slice_is(reason, others[i]))
            return others[i];
    for (int i = 0; i < MP_PARKEDS; i++)
        if (mp_slice_is(reason, mp_parked_name((enum mp_parked)i)))
            return mp_parked_name((enum mp_parked)i);
    return "unknown";
}

int mp_row_read(struct mp_query *query, struct mp_row *row,
                struct mp_pair *pairs)
{
    *row = (struct mp_row){
        .id = mp_column_int(query, 0),
        .fn = mp_column_bytes(query, 1),
        .okey = mp_column_bytes(query, 2),
        .has_okey = !mp_column_is_null(query, 2),
        .due_us = mp_column_int(query, 3),
        .attempt = (uint32_t)mp_column_int(query, 4),
        .reason = mp_column_bytes(query, 5),
    };
    return mp_row_get_event(mp_column_bytes(query, 7), row, pairs);
}
