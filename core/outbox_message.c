/*
 * outbox_message.c - a message as the bytes of its row, and back.
 *
 * A version comes first: a row that another moonpool wrote in another way is
 * seen as such.  Numbers are in the machine's own order, as in wire.h.
 */
#include "core/outbox_impl.h"

#include <stdlib.h>

#include "core/base/wire.h"

enum {
    MESSAGE_VERSION = 1,
    ROW_BYTES = 64, /* of a row, beside its texts */
};

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

/* The number of properties comes early: unpack makes room by it. */
void mp_outbox_pack(struct mp_buf *b, const struct mp_output *m)
{
    mp_put_u8(b, MESSAGE_VERSION);
    mp_put_u32(b, m->n_properties);
    mp_put_u8(b, m->qos);
    mp_put_u8(b, m->retain);
    mp_put_u8(b, m->has_expiry);
    mp_put_u32(b, m->expiry_s);
    mp_put_slice(b, m->topic);
    mp_put_slice(b, m->data);
    put_optional(b, m->id);
    put_optional(b, m->traceparent);
    put_optional(b, m->correlation);
    put_optional(b, m->content_type);
    for (uint32_t i = 0; i < m->n_properties; i++) {
        mp_put_slice(b, m->properties[i].name);
        mp_put_slice(b, m->properties[i].value);
    }
}

static void get_fields(struct mp_reader *r, struct mp_output *m,
                       struct mp_pair *properties)
{
    m->qos = mp_get_u8(r);
    m->retain = mp_get_u8(r) != 0;
    m->has_expiry = mp_get_u8(r) != 0;
    m->expiry_s = mp_get_u32(r);
    m->topic = mp_get_slice(r);
    m->data = mp_get_slice(r);
    m->id = get_optional(r);
    m->traceparent = get_optional(r);
    m->correlation = get_optional(r);
    m->content_type = get_optional(r);
    for (uint32_t i = 0; i < m->n_properties; i++) {
        properties[i].name = mp_get_slice(r);
        properties[i].value = mp_get_slice(r);
    }
}

/* One block: the structure, its properties, the bytes.  NULL: malformed. */
struct mp_output *mp_outbox_unpack(struct mp_slice bytes)
{
    struct mp_reader r = mp_reader(bytes);
    uint8_t version = mp_get_u8(&r);
    uint32_t n = mp_get_u32(&r);
    size_t head = (size_t)(r.at - bytes.ptr);
    struct mp_pair *properties;
    struct mp_output *m;
    char *copy;

    if (r.bad || version != MESSAGE_VERSION || n > MP_PAIRS_MAX)
        return NULL;
    m = mp_alloc(sizeof *m + n * sizeof *properties + bytes.len);
    properties = (struct mp_pair *)(m + 1);
    copy = (char *)(properties + n);
    memcpy(copy, bytes.ptr, bytes.len);
    *m = (struct mp_output){.properties = properties, .n_properties = n};
    mp_list_init(&m->link);
    mp_list_init(&m->mine);
    r = mp_reader(mp_slice(copy + head, bytes.len - head));
    get_fields(&r, m, properties);
    if (r.bad || r.at != r.end || m->qos > 2 || !m->topic.len) {
        free(m);
        return NULL;
    }
    return m;
}

/* A row that can't be read (a newer moonpool wrote it): there is nothing to
 * send, but it must be counted and go. */
struct mp_output *mp_outbox_unreadable(struct mp_slice topic)
{
    struct mp_output *m = mp_zalloc(sizeof *m + topic.len);

    mp_list_init(&m->link);
    mp_list_init(&m->mine);
    if (topic.len)
        memcpy(m + 1, topic.ptr, topic.len);
    m->topic = mp_slice(m + 1, topic.len);
    m->data = MP_S("");
    return m;
}

uint64_t mp_outbox_row_bytes(struct mp_slice fn, struct mp_slice topic,
                             struct mp_slice message)
{
    return ROW_BYTES + fn.len + topic.len + message.len;
}
