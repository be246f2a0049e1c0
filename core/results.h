/*
 * results.h - answers of asynchronous requests, until somebody asks for them.
 *
 * A client that was told 202 (HTTP) or 2.04 with a location (CoAP) asks again
 * by the result's name.  An answer is kept in memory for [http] results_ttl
 * from when it is there; the oldest go first when there are too many.  A
 * restart forgets them, not the events.
 *
 * A name is a capability: who knows it may read the result, whoever that is.
 * So it is not the event's id, which senders choose and others guess, but a
 * hash of what was asked for with a key of this host (kept in its database),
 * that only who was told its location has.  A repeat has the same name.
 *
 * Begin before the input is handed to the host: its answer may be there before
 * it is settled.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   at most MP_RESULTS_MAX, whose names and answers have
 *          MP_RESULTS_BYTES together.
 */
#ifndef MP_RESULTS_H
#define MP_RESULTS_H

#include "core/base/hash.h"
#include "core/transport.h"

enum {
    MP_RESULTS_MAX = 10000,
    MP_RESULTS_BYTES = 4 << 20,
    MP_RESULT_NAME = 32, /* hex digits of 128 bits: nobody guesses them */
};

struct mp_result; /* one of them */

struct mp_results {
    struct mp_result **buckets; /* by name */
    uint32_t n_buckets, n;
    struct mp_link running, there; /* oldest first */
    size_t bytes;
    int64_t ttl_us;
    struct mp_hash_key key;      /* of the table */
    struct mp_hash_key name_key; /* of the names */
};

void mp_results_init(struct mp_results *r, int64_t ttl_us);
void mp_results_fini(struct mp_results *r);

/* Of the answer to an event; name is terminated, and returned. */
struct mp_slice mp_results_name(const struct mp_results *r,
                                enum mp_event_type type, struct mp_slice method,
                                struct mp_slice path, struct mp_slice id,
                                char name[MP_RESULT_NAME + 1]);
/* As mp_results_name, of an input that is a request. */
struct mp_slice mp_results_name_of(const struct mp_results *r,
                                   const struct mp_input *in,
                                   char name[MP_RESULT_NAME + 1]);

/* It was accepted, and runs.  False: this name is known already, and stays as
 * it is. */
bool mp_results_begin(struct mp_results *r, struct mp_slice name,
                      int64_t now_us);
/* What was begun is not accepted after all: as if it had never been. */
void mp_results_drop(struct mp_results *r, struct mp_slice name);
/* Its outcome; a copy is taken.  Not begun (or forgotten): nothing. */
void mp_results_put(struct mp_results *r, struct mp_slice name,
                    const struct mp_answer *a, int64_t now_us);

enum mp_result_is { MP_RESULT_UNKNOWN, MP_RESULT_RUNS, MP_RESULT_IS };

/* a is borrowed until the next call. */
enum mp_result_is mp_results_get(struct mp_results *r, struct mp_slice name,
                                 struct mp_answer *a, int64_t now_us);
/* Forget what is too old; call it each second or so. */
void mp_results_turn(struct mp_results *r, int64_t now_us);

#endif
