/*
 * outbox.h - messages that must leave, on disk until the broker has them.
 *
 * A message added here leaves when the ticket it was added with is durable,
 * in the order in which messages were added, a window at a time.  While the
 * outbox holds anything for a topic, later messages for it must go behind
 * (mp_outbox_holds).  What the broker confirms is deleted lazily: a crash
 * before that sends it again, with the same id and bytes.
 *
 * Only the first of them are in memory (MP_OUTBOX_MEMORY bytes, MP_OUTBOX_ITEMS
 * messages); the rest is read back by pages, in order, when those have left.
 * While some are on disk only, every topic is held.
 *
 * A message with an expiry goes on expiring here, and leaves with what is left
 * of it.
 *
 * Process  host only.   Thread  loop thread; mp_outbox_load in the reader's.
 * Memory   it owns the outputs it is given; those the transport still has at
 *          a reset or fini are freed when it calls done.
 * Errors   [store] outbox bytes and outbox_max_age: with outbox_full = wait
 *          is_full says that no more input may be taken (what is given is
 *          still taken: it was promised); with oldest, the oldest go.  What is
 *          dropped is counted by reason, said at most once a minute, and
 *          nothing is kept of it: flash is for what the broker refused.
 */
#ifndef MP_OUTBOX_H
#define MP_OUTBOX_H

#include "core/commit.h"
#include "core/metrics.h"
#include "core/reader.h"
#include "core/timeline.h"
#include "core/transport.h"

enum {
    MP_OUTBOX_MEMORY = 1 << 20, /* bytes of messages */
    MP_OUTBOX_ITEMS = 1024,
    /* With the transport at a time: past some hundreds in flight the library
     * becomes slow, and this many keep a broker busy. */
    MP_OUTBOX_WINDOW = 64,
};

/* Why one need not leave any more. */
enum mp_outbox_drop {
    MP_OUTBOX_AGED,    /* older than outbox_max_age */
    MP_OUTBOX_EXPIRED, /* its own expiry is over */
    MP_OUTBOX_FULL,    /* the oldest of a full one */
    MP_OUTBOX_UNREADABLE,
    MP_OUTBOX_DROPS
};
const char *mp_outbox_drop_name(enum mp_outbox_drop why);

struct mp_outbox_user {
    /* Hand it to the transport; it calls done. */
    void (*publish)(void *arg, struct mp_output *o);
    /* The broker refused it (reason >= 0x80; why says so): fn may be empty.
     * What is recorded in here goes with the same transaction as its end. */
    void (*refused)(void *arg, struct mp_slice fn, const struct mp_output *o,
                    unsigned reason, const char *why);
    /* It became full, or has room again. */
    void (*full)(void *arg, bool full);
    void *arg;
};

struct mp_outbox_item;
struct mp_outbox_page;

struct mp_outbox {
    uv_loop_t *loop;
    struct mp_commit *commit;
    struct mp_reader_thread *reader;
    const struct mp_timeline *timeline;
    struct mp_outbox_user user;
    uint64_t max_bytes;
    int64_t max_age_us;
    bool oldest;          /* outbox_full = oldest */
    struct mp_link items; /* in memory, by id */
    struct mp_link *next; /* the first that has not left; &items: none */
    unsigned n_items, n_sent;
    uint64_t memory;                   /* bytes of items */
    struct mp_link *topics;            /* hash table of topics held by items */
    size_t n_topics;                   /* its buckets */
    int64_t next_id, read_to;          /* rows up to read_to were looked at */
    uint64_t messages, bytes;          /* in all */
    uint64_t on_disk;                  /* of messages: not in memory */
    uint64_t dropped[MP_OUTBOX_DROPS]; /* since the start */
    bool is_full, closing;
    int64_t oldest_us; /* timeline: when the first was added; 0: none */
    /* outbox.c's own */
    bool going, busy;
    struct mp_commit_wait leaving;  /* for the ticket of the next one */
    struct mp_commit_wait arriving; /* for rows that a page did not have */
    uint64_t spilled;               /* ticket of the last one on disk only */
    struct mp_outbox_page *page;    /* with the reader */
    int64_t *skip; /* ids past read_to that are or were in memory */
    size_t n_skip;
    struct mp_buf message;          /* being made */
    uint64_t said[MP_OUTBOX_DROPS]; /* of dropped: what was said */
    int64_t said_us;                /* monotonic; 0: never */
};

void mp_outbox_init(struct mp_outbox *o, uv_loop_t *loop,
                    struct mp_commit *commit, struct mp_reader_thread *reader,
                    const struct mp_timeline *timeline,
                    const struct mp_config *config,
                    const struct mp_outbox_user *user);
void mp_outbox_fini(struct mp_outbox *o);
MP_MUST int mp_outbox_load(struct mp_outbox *o, struct mp_db *db,
                           struct mp_why *why);
/* Forget what is in memory; what the transport has comes back to nobody. */
void mp_outbox_reset(struct mp_outbox *o);
/* Mirrors are loaded: send what is there. */
void mp_outbox_go(struct mp_outbox *o);
/* The transport is closing: calls to done mean nothing from now on. */
void mp_outbox_closing(struct mp_outbox *o);
/* Now and then (1 s): age; says what was dropped. */
void mp_outbox_tick(struct mp_outbox *o);

/* Takes the output.  Returns the ticket. */
uint64_t mp_outbox_add(struct mp_outbox *o, struct mp_output *output,
                       struct mp_slice fn, uint64_t *flash);
/* As that, for one the transport has already and has not confirmed: it takes
 * over its done and owner. */
uint64_t mp_outbox_adopt(struct mp_outbox *o, struct mp_output *output,
                         struct mp_slice fn, uint64_t *flash);
/* Must a message for that topic go behind others? */
bool mp_outbox_holds(const struct mp_outbox *o, struct mp_slice topic);

#endif
