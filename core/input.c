/*
 * input.c - a message that came in, in one block with all its bytes.
 */
#include "core/transport.h"

#include <stdlib.h>

#include "core/base/trace.h"

static size_t pair_bytes(const struct mp_pair *pairs, uint32_t n)
{
    size_t bytes = n * sizeof *pairs;

    for (uint32_t i = 0; i < n; i++)
        bytes += pairs[i].name.len + pairs[i].value.len;
    return bytes;
}

static size_t bytes_of(const struct mp_input *in)
{
    return in->id.len + in->topic.len + in->data.len + in->source.len +
           in->datacontenttype.len + in->traceparent.len +
           in->response_topic.len + in->correlation.len + in->subject.len +
           in->alarm.len + in->method.len + in->peer.len + in->identity.len +
           in->exchange.len + pair_bytes(in->properties, in->n_properties) +
           pair_bytes(in->query, in->n_query) +
           pair_bytes(in->headers, in->n_headers) +
           in->n_done * sizeof(uint64_t);
}

static void move(struct mp_slice *s, char **at)
{
    if (s->len)
        memcpy(*at, s->ptr, s->len);
    if (s->ptr)
        s->ptr = *at;
    *at += s->len;
}

/* Copies the array to *room, which goes on, and its texts to *at. */
static struct mp_pair *move_pairs(const struct mp_pair *from, uint32_t n,
                                  struct mp_pair **room, char **at)
{
    struct mp_pair *pairs = *room;

    for (uint32_t i = 0; i < n; i++) {
        pairs[i] = from[i];
        move(&pairs[i].name, at);
        move(&pairs[i].value, at);
    }
    *room += n;
    return pairs;
}

struct mp_input *mp_input_new(const struct mp_input *from)
{
    size_t bytes = bytes_of(from);
    struct mp_input *in = mp_alloc(sizeof *in + bytes);
    uint32_t n = from->n_properties + from->n_query + from->n_headers;
    struct mp_pair *room = (struct mp_pair *)(in + 1);
    uint64_t *done = (uint64_t *)(room + n);
    char *at = (char *)(done + from->n_done);

    *in = *from;
    in->refs = 1;
    in->open = 0;
    in->bytes = bytes;
    if (in->traceparent.ptr && !mp_trace_is(in->traceparent))
        in->traceparent = mp_slice(NULL, 0);
    in->properties =
        move_pairs(from->properties, from->n_properties, &room, &at);
    in->query = move_pairs(from->query, from->n_query, &room, &at);
    in->headers = move_pairs(from->headers, from->n_headers, &room, &at);
    in->done = done;
    if (from->n_done)
        memcpy(done, from->done, from->n_done * sizeof *done);
    move(&in->id, &at);
    move(&in->topic, &at);
    move(&in->data, &at);
    move(&in->source, &at);
    move(&in->datacontenttype, &at);
    move(&in->traceparent, &at);
    move(&in->response_topic, &at);
    move(&in->correlation, &at);
    move(&in->subject, &at);
    move(&in->alarm, &at);
    move(&in->method, &at);
    move(&in->peer, &at);
    move(&in->identity, &at);
    move(&in->exchange, &at);
    return in;
}

struct mp_input *mp_input_ref(struct mp_input *in)
{
    in->refs++;
    return in;
}

void mp_input_unref(struct mp_input *in)
{
    if (--in->refs == 0)
        free(in);
}
