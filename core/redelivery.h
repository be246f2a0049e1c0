/*
 * redelivery.h - which messages of a session were taken already.
 *
 * A broker that did not see our acknowledgement sends the message again on
 * the next connection: DUP set, same packet id, same bytes.  From a message's
 * arrival until the broker has shown that it saw the acknowledgement, a slot
 * remembers (packet id, hash of id and bytes), so that the second copy does
 * not run again.  Each slot is
 *
 *      take        settle            flushed            proven
 *   NEW ---> in work ---> settled -----------> flushed -------> gone
 *
 * and *here* while it came on the connection that is on now; what came on an
 * earlier one is *carried*, until it comes again or the broker has shown that
 * it won't.  Without DUP the rule would be unsafe: ids are reused, and sensors
 * repeat values.  Kept too long it would be unsafe too, for the same reason.
 *
 * A slot also holds the records (core/records.h) of functions that are done
 * with its message; they are let go with it.  What another run of the program
 * has recorded makes carried slots that are done in *part*: when such a
 * message comes again it is handed over once more, with the functions that
 * need not run.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   24 bytes a slot, at most 65,535 of them (packet ids), and 24 a
 *          record.
 */
#ifndef MP_REDELIVERY_H
#define MP_REDELIVERY_H

#include "core/records.h"

struct mp_taken;
struct mp_noted;

struct mp_redelivery {
    struct mp_records *records;
    const char *lane;
    struct mp_taken *slots; /* open addressing by packet id */
    uint32_t cap, used;
    struct mp_noted *notes; /* chained by slot; place 0 is unused */
    uint32_t n_notes, cap_notes;
    uint32_t unused; /* chain of notes that were given back */
    uint64_t *done;  /* what mp_redelivery_done returns */
    uint32_t cap_done;
    uint32_t carried; /* slots from earlier connections */
    uint32_t settled; /* here and settled: a flush and a proof free them */
    uint32_t serial;  /* of the input taken last */
    uint32_t flush;   /* number of the next flush; from 1 */
};

enum mp_again {
    MP_AGAIN_NO,      /* new: hand it over, it holds the lane */
    MP_AGAIN_PARTLY,  /* as NO, but for functions that are done with it */
    MP_AGAIN_IN_WORK, /* not over yet: holds the lane, don't hand it over */
    MP_AGAIN_HELD,    /* as IN_WORK, and it holds the lane already */
    MP_AGAIN_SETTLED, /* over: just acknowledge */
    MP_AGAIN_CLASH,   /* the broker reuses the id of a message in work */
};

/* The lane's name, as records have it, is borrowed. */
void mp_redelivery_init(struct mp_redelivery *r, struct mp_records *records,
                        const char *lane);
void mp_redelivery_fini(struct mp_redelivery *r);

/* Take over what was recorded for the lane before a restart; r is empty. */
void mp_redelivery_load(struct mp_redelivery *r);

/* Is there a slot of that number and hash? */
bool mp_redelivery_has(const struct mp_redelivery *r, uint32_t id,
                       uint64_t hash);
/* The highest sequence number it remembers; 0: none. */
uint32_t mp_redelivery_top(const struct mp_redelivery *r);

/* A QoS 1 message came; id: its sequence number (mp_session_sequence).  *ticket
 * is for the calls below. */
enum mp_again mp_redelivery_take(struct mp_redelivery *r, uint32_t id,
                                 uint64_t hash, bool dup, uint64_t *ticket);

/* The functions that are done with the input of that ticket; *done is valid
 * until the next call. */
uint32_t mp_redelivery_done(struct mp_redelivery *r, uint64_t ticket,
                            const uint64_t **done);

/* Record that a function is done with the input of that ticket, as long as
 * the broker may send it again. */
void mp_redelivery_note(struct mp_redelivery *r, uint64_t ticket,
                        uint64_t function);

/* The input of that ticket is settled.  Does it hold the lane now? */
bool mp_redelivery_settle(struct mp_redelivery *r, uint64_t ticket);

/* The input of that ticket is lost: it must not be acknowledged, and when it
 * comes again it runs, but for functions that are recorded.  Does it hold
 * the lane now (for ever)? */
bool mp_redelivery_lose(struct mp_redelivery *r, uint64_t ticket);

/* Everything settled here was written.  Returns the flush's number. */
uint32_t mp_redelivery_flushed(struct mp_redelivery *r);

/* The broker saw all acknowledgements up to that flush; carried: and it will
 * send nothing again. */
void mp_redelivery_proven(struct mp_redelivery *r, uint32_t flush,
                          bool carried);

/* The connection is gone: all that is here is carried from now on. */
void mp_redelivery_lost(struct mp_redelivery *r);

/* Another session, or the records were read anew: forget everything.  The
 * records stay as they are. */
void mp_redelivery_clear(struct mp_redelivery *r);

#endif
