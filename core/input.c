/*
 * input.c - a message that came in, in one block with all its bytes.
 */
#include "core/transport.h"

#include <stdlib.h>

static size_t bytes_of(const struct mp_input *in)
{
    size_t n = in->id.len + in->topic.len + in->data.len + in->source.len +
               in->datacontenttype.len + in->traceparent.len +
               in->response_topic.len + in->correlation.len + in->subject.len +
               in->alarm.len;

    for (uint32_t i = 0; i < in->n_properties; i++)
        n += in->properties[i].name.len + in->properties[i].value.len;
    return n;
}

static void move(struct mp_slice *s, char **at)
{
    if (s->len)
        memcpy(*at, s->ptr, s->len);
    if (s->ptr)
        s->ptr = *at;
    *at += s->len;
}

struct mp_input *mp_input_new(const struct mp_input *from)
{
    size_t pairs = from->n_properties * sizeof(struct mp_pair);
    size_t done = from->n_done * sizeof(uint64_t);
    struct mp_input *in = mp_alloc(sizeof *in + pairs + done + bytes_of(from));
    char *at = (char *)(in + 1) + pairs + done;

    *in = *from;
    in->refs = 1;
    in->open = 0;
    in->properties = (struct mp_pair *)(in + 1);
    in->done = (uint64_t *)(in->properties + in->n_properties);
    if (done)
        memcpy((char *)(in + 1) + pairs, from->done, done);
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
    for (uint32_t i = 0; i < from->n_properties; i++) {
        in->properties[i] = from->properties[i];
        move(&in->properties[i].name, &at);
        move(&in->properties[i].value, &at);
    }
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
