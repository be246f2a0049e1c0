/*
 * coap_block.c - bodies in blocks, both ways (RFC 7959).
 *
 * A response that was cut stays here until its last block was fetched or
 * nobody asked for 30 s: the function doesn't run again for the next block.
 * A request in blocks is put together here, in order, before it is an input.
 * Both are told apart by peer, method, path and query.
 */
#include "transports/coap_impl.h"

#include <stdlib.h>

struct coap_body {
    struct mp_link link; /* the one asked for last at the end */
    struct mp_hash peer;
    uint64_t place;
    int64_t until_us;
    struct coap_reply reply; /* data, location: borrowed from bytes */
    char *bytes;
    size_t n_bytes;
};

struct coap_upload {
    struct mp_link link;
    struct mp_hash peer;
    uint64_t place;
    int64_t until_us;
    struct mp_buf data;
};

#define body_of(at) mp_of(at, struct coap_body, link)
#define upload_of(at) mp_of(at, struct coap_upload, link)

/* ---- out ---- */

static void body_free(struct coap *c, struct coap_body *b)
{
    mp_list_unlink(&b->link);
    c->n_bodies--;
    c->bodies_bytes -= b->n_bytes;
    free(b->bytes);
    free(b);
}

static struct coap_body *body_find(struct coap *c, const struct coap_to *to)
{
    mp_list_each (at, &c->bodies) {
        struct coap_body *b = body_of(at);

        if (b->place == to->place && mp_hash_eq(b->peer, to->peer->id))
            return b;
    }
    return NULL;
}

void mp_coap_body_put(struct coap *c, const struct coap_to *to,
                      struct coap_reply *r)
{
    struct coap_body *b = body_find(c, to);

    if (b)
        body_free(c, b);
    b = mp_zalloc(sizeof *b);
    b->peer = to->peer->id;
    b->place = to->place;
    b->until_us = mp_now_us() + COAP_BLOCKS_S * MP_SECOND;
    b->n_bytes = r->data.len;
    b->bytes = mp_alloc(b->n_bytes + 1);
    memcpy(b->bytes, r->data.ptr, r->data.len);
    r->etag = (int64_t)(mp_hash64(&c->key, r->data) & 0xffffffff);
    b->reply = *r;
    b->reply.data = mp_slice(b->bytes, b->n_bytes);
    b->reply.observe = b->reply.max_age = -1;
    b->reply.location = (struct mp_slice){NULL, 0};
    b->reply.block1.is = false;
    mp_list_append(&c->bodies, &b->link);
    c->n_bodies++;
    c->bodies_bytes += b->n_bytes;
    while (c->n_bodies > COAP_BODIES_MAX ||
           (c->bodies_bytes > COAP_BODIES_BYTES && c->n_bodies > 1))
        body_free(c, body_of(c->bodies.next));
}

bool mp_coap_body_get(struct coap *c, const struct coap_request *q,
                      struct coap_reply *r, size_t *offset)
{
    struct coap_body *b = body_find(c, &q->to);

    if (!b) {
        *r = mp_coap_problem(COAP_CODE(4, 8),
                             "this body is not here any more; begin again");
        return false;
    }
    *offset = (size_t)q->to.block2.num << (q->to.block2.szx + 4);
    if (*offset >= b->n_bytes) {
        *r = mp_coap_problem(COAP_CODE(4, 0), "there is no such block");
        return false;
    }
    b->until_us = mp_now_us() + COAP_BLOCKS_S * MP_SECOND;
    mp_list_unlink(&b->link);
    mp_list_append(&c->bodies, &b->link);
    *r = b->reply;
    return true;
}

/* ---- in ---- */

void mp_coap_upload_done(struct coap *c, struct coap_upload *u)
{
    if (!u)
        return;
    mp_list_unlink(&u->link);
    c->n_uploads--;
    mp_buf_fini(&u->data);
    free(u);
}

static struct coap_upload *upload_find(struct coap *c, const struct coap_to *to)
{
    mp_list_each (at, &c->uploads) {
        struct coap_upload *u = upload_of(at);

        if (u->place == to->place && mp_hash_eq(u->peer, to->peer->id))
            return u;
    }
    return NULL;
}

static struct coap_upload *upload_new(struct coap *c, const struct coap_to *to,
                                      size_t max)
{
    struct coap_upload *u;

    if (c->n_uploads >= COAP_UPLOADS_MAX)
        return NULL;
    u = mp_zalloc(sizeof *u);
    u->peer = to->peer->id;
    u->place = to->place;
    mp_buf_init(&u->data, max);
    mp_list_append(&c->uploads, &u->link);
    c->n_uploads++;
    return u;
}

static struct coap_reply too_large(size_t max)
{
    struct coap_reply r =
        mp_coap_problem(COAP_CODE(4, 13), "this body is too large");

    r.size1 = (int64_t)max;
    return r;
}

/* A block that isn't the last is full. */
static bool is_whole_block(const struct coap_request *q)
{
    size_t size = (size_t)16 << q->to.block1.szx;

    return !q->to.block1.more ||
           (q->data.len && q->data.len % size == 0 &&
            (q->to.peer->reliable || q->data.len == size));
}

static bool append(struct coap *c, struct coap_request *q,
                   struct coap_upload *u, size_t max, struct coap_reply *r)
{
    size_t offset = (size_t)q->to.block1.num << (q->to.block1.szx + 4);

    if (!is_whole_block(q)) {
        *r = mp_coap_problem(COAP_CODE(4, 0), "the block is not whole");
    } else if (offset + q->data.len <= u->data.len && q->to.block1.more) {
        return true; /* we have it */
    } else if (offset != u->data.len) {
        *r = mp_coap_problem(COAP_CODE(4, 8), "a block is missing");
    } else if (offset + q->data.len > max) {
        *r = too_large(max);
    } else {
        mp_buf_put(&u->data, q->data.ptr, q->data.len);
        u->until_us = mp_now_us() + COAP_BLOCKS_S * MP_SECOND;
        return true;
    }
    mp_coap_upload_done(c, u);
    return false;
}

bool mp_coap_upload(struct coap *c, struct coap_request *q,
                    const struct mp_endpoint *e, struct coap_reply *r,
                    struct coap_upload **whole)
{
    size_t max =
        e->max_payload < COAP_UPLOAD_BYTES ? e->max_payload : COAP_UPLOAD_BYTES;
    struct coap_upload *u = upload_find(c, &q->to);

    if (q->size1 > (int64_t)max) {
        *r = too_large(max);
        return false;
    }
    if (!q->to.block1.num) {
        mp_coap_upload_done(c, u);
        u = upload_new(c, &q->to, max);
        if (!u) {
            *r = mp_coap_busy(COAP_CODE(5, 3), "too many bodies are on the way",
                              COAP_BLOCKS_S);
            return false;
        }
    }
    if (!u) {
        *r = mp_coap_problem(COAP_CODE(4, 8), "the blocks before are missing");
        return false;
    }
    if (!append(c, q, u, max, r))
        return false;
    if (q->to.block1.more) {
        *r = mp_coap_reply(COAP_CODE(2, 31));
        r->block1 = q->to.block1;
        return false;
    }
    q->data = u->data.len ? mp_buf_bytes(&u->data) : MP_S("");
    *whole = u;
    return true;
}

void mp_coap_blocks_tick(struct coap *c, int64_t now_us)
{
    mp_list_each_safe (at, &c->bodies) {
        if (body_of(at)->until_us <= now_us)
            body_free(c, body_of(at));
    }
    mp_list_each_safe (at, &c->uploads) {
        if (upload_of(at)->until_us <= now_us)
            mp_coap_upload_done(c, upload_of(at));
    }
}

void mp_coap_blocks_fini(struct coap *c)
{
    mp_coap_blocks_tick(c, INT64_MAX);
}
