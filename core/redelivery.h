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
 * Process  host only.   Thread  loop thread.
 * Memory   24 bytes a slot, at most 65,535 of them (packet ids).
 */
#ifndef MP_REDELIVERY_H
#define MP_REDELIVERY_H

#include <stdbool.h>
#include <stdint.h>

struct mp_taken;

struct mp_redelivery {
    struct mp_taken *slots; /* open addressing by packet id */
    uint32_t cap, used;
    uint32_t carried; /* slots from earlier connections */
    uint32_t settled; /* here and settled: a flush and a proof free them */
    uint32_t serial;  /* of the input taken last */
    uint32_t flush;   /* number of the next flush; from 1 */
};

enum mp_again {
    MP_AGAIN_NO,      /* new: hand it over, it holds the lane */
    MP_AGAIN_IN_WORK, /* not over yet: holds the lane, don't hand it over */
    MP_AGAIN_HELD,    /* as IN_WORK, and it holds the lane already */
    MP_AGAIN_SETTLED, /* over: just acknowledge */
    MP_AGAIN_CLASH,   /* the broker reuses the id of a message in work */
};

void mp_redelivery_init(struct mp_redelivery *r);
void mp_redelivery_fini(struct mp_redelivery *r);

/* A QoS 1 message came.  *ticket is for settle. */
enum mp_again mp_redelivery_take(struct mp_redelivery *r, uint16_t packet_id,
                                 uint64_t hash, bool dup, uint64_t *ticket);

/* The input of that ticket is settled.  Does it hold the lane now? */
bool mp_redelivery_settle(struct mp_redelivery *r, uint64_t ticket);

/* Everything settled here was written.  Returns the flush's number. */
uint32_t mp_redelivery_flushed(struct mp_redelivery *r);

/* The broker saw all acknowledgements up to that flush; carried: and it will
 * send nothing again. */
void mp_redelivery_proven(struct mp_redelivery *r, uint32_t flush,
                          bool carried);

/* The connection is gone: all that is here is carried from now on. */
void mp_redelivery_lost(struct mp_redelivery *r);

/* Another session: forget everything. */
void mp_redelivery_clear(struct mp_redelivery *r);

#endif
