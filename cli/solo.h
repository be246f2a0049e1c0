/*
 * solo.h - one function in one real worker, one event at a time.
 *
 * What `invoke`, `test` and `check` need of a host: start a worker, load the
 * function, run an event, follow its waits, watch its clock, and give back
 * what came of it.  The worker is the one the host uses, in the same cage and
 * as little trusted.  One that dies makes the outcome `killed`, and the next
 * run gets a new one.
 *
 * With wall_us set the clock is a fake one: mp.now starts there, a sleep
 * moves it on at once, and the caller may move it between runs.  Without, the
 * clocks are real and a sleep is slept.  What a run asks of state is answered
 * at once, from actors.
 *
 * Process  command line; call from the main thread only.
 * Memory   the caller holds struct mp_solo; what a call gives back is
 *          borrowed until the next call.
 * Errors   negative only when the machine fails us (no worker can be
 *          started); whatever the function does is an outcome.
 */
#ifndef MP_SOLO_H
#define MP_SOLO_H

#include "cli/actors.h"
#include "core/function.h"
#include "core/worker.h"

struct mp_solo {
    /* the caller sets these after mp_solo_init, before loading */
    const char *node;          /* mp.node */
    const char *timezone;      /* for who has none; NULL: the system's */
    int64_t wall_us;           /* the fake clock; 0: real ones */
    const struct mp_pair *env; /* these in place of [env]'s */
    uint32_t n_env;
    const struct mp_pair
        *secrets; /* values; the others granted have "secret" */
    uint32_t n_secrets;
    struct mp_actors *actors; /* values that runs read; NULL: there are none */
    /* its own */
    const struct mp_function *fn;
    struct mp_worker worker;
    bool alive;
    uint64_t last_id; /* of loads and runs */
    struct mp_buf in, out;
    size_t taken;          /* bytes of in that were looked at */
    struct mp_buf answer;  /* the frame given back */
    struct mp_buf effects; /* of the last run */
    struct mp_why denied;  /* what the last run was not granted */
    struct mp_why died;    /* how the last worker ended */
    struct mp_why late;    /* which limit the last run passed */
    struct mp_slice names[MP_TRIGGERS_MAX];
};

void mp_solo_init(struct mp_solo *s);
/* Ends the worker. */
void mp_solo_fini(struct mp_solo *s);

/* The first that fn was granted and that isn't given; ptr NULL: none. */
struct mp_slice mp_solo_secret_missing(const struct mp_function *fn,
                                       const struct mp_pair *given, uint32_t n);

/* Are these all that fn was granted, and no others? */
MP_MUST int mp_solo_secrets_check(const struct mp_function *fn,
                                  const struct mp_pair *given, uint32_t n,
                                  struct mp_why *why);

/*
 * Load a function, in a new worker.  fn stays the caller's and must outlive
 * the solo or its next load.  A file that doesn't load is an answer too:
 * loaded->kind and its error say so.
 */
MP_MUST int mp_solo_load(struct mp_solo *s, const struct mp_function *fn,
                         struct mp_loaded *loaded, struct mp_why *why);

/*
 * Run one event of the loaded function.  Its effects and logs were checked:
 * reading them can't fail, each was granted, and an outcome other than ok has
 * no effects.  The effects say all by themselves: changes of state and alarms
 * have the key of their actor ("": the function's own), and alarms in at_us
 * when they are due.  Nothing of them is done.
 */
MP_MUST int mp_solo_run(struct mp_solo *s, const struct mp_event *event,
                        struct mp_outcome *out, struct mp_why *why);

/*
 * Is every name of env, that the caller wants to replace, one of the
 * function's?  A bare file has none of its own and takes any.
 */
MP_MUST int mp_solo_env_check(const struct mp_function *fn,
                              struct mp_slice name, struct mp_why *why);

#endif
