/*
 * outbox_impl.h - what outbox.c shares with its messages and its pages.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_OUTBOX_IMPL_H
#define MP_OUTBOX_IMPL_H

#include "core/outbox.h"

struct mp_outbox_topic;

struct mp_outbox_item {
    struct mp_link link;
    struct mp_outbox *box; /* NULL: the outbox has forgotten it */
    struct mp_output *output;
    struct mp_outbox_topic *topic;
    int64_t id, created_us;
    uint64_t ticket, bytes;
    uint32_t expiry_s; /* when created */
    bool sent;         /* the transport has it */
    size_t fn_len;
    char fn[];
};

/* ---- outbox_message.c ---- */

/* A message as the bytes of its row. */
void mp_outbox_pack(struct mp_buf *b, const struct mp_output *m);
/* One block: the structure, its properties, the bytes.  NULL: malformed. */
struct mp_output *mp_outbox_unpack(struct mp_slice bytes);
/* In the place of one that is malformed: its topic, no data. */
struct mp_output *mp_outbox_unreadable(struct mp_slice topic);
/* What a row counts for quotas. */
uint64_t mp_outbox_row_bytes(struct mp_slice fn, struct mp_slice topic,
                             struct mp_slice message);

/* ---- outbox.c ---- */

/* An item for a message whose row there is; bytes and ticket are to follow. */
struct mp_outbox_item *mp_outbox_take(struct mp_outbox *o,
                                      struct mp_output *output,
                                      struct mp_slice fn, int64_t id,
                                      int64_t created_us);
/* It need not leave any more: counted, and its row goes. */
void mp_outbox_drop(struct mp_outbox *o, struct mp_outbox_item *item,
                    enum mp_outbox_drop why);
void mp_outbox_set_oldest(struct mp_outbox *o);
/* Send as many as the window has room for.  done may come from inside. */
void mp_outbox_pump(struct mp_outbox *o);

/* ---- outbox_page.c ---- */

/* Read on when half of the memory is free. */
void mp_outbox_refill(struct mp_outbox *o);
/* Nobody wants what is being read. */
void mp_outbox_page_forget(struct mp_outbox *o);

#endif
