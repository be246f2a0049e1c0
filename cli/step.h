/*
 * step.h - one event as people write it: a JSON object with the names of
 * section 4 of the reference, made into what a function is given.
 *
 * A step of a test, `invoke --event` and the flags of `invoke` all come
 * through here, so that each finds its trigger as the host would: by pattern,
 * in file order, or by method and path.  What a trigger with `batch` takes
 * becomes a batch: of the one event, or of all in `events`.
 *
 * Process  command line.
 * Memory   the caller holds struct mp_step; its event borrows from it, from
 *          the function and from the value it was made of.
 * Errors   MP_EPARSE, MP_ENONE with a sentence.
 */
#ifndef MP_CLI_STEP_H
#define MP_CLI_STEP_H

#include "cli/tree.h"
#include "core/function.h"

struct mp_step {
    struct mp_event event;
    const struct mp_trigger *trigger; /* NULL: an alarm, a send */
    const char *skipped; /* mp_step_read failed: by this stream line */
    /* what the event borrows */
    struct mp_buf data, target;
    char key[MP_KEY_MAX], id[MP_EVENT_ID_MAX + 1];
    struct mp_pair params[MP_PAIRS_MAX];
    struct mp_pair properties[MP_PAIRS_MAX];
    struct mp_pair query[MP_PAIRS_MAX], headers[MP_PAIRS_MAX];
    struct mp_pair named[MP_PAIRS_MAX]; /* params of a batch */
    struct mp_step *members;            /* of a batch */
    struct mp_event *events;
    size_t n_members;
    bool typed; /* its type was said */
};

/* What stands in the place of what the value doesn't say. */
struct mp_step_defaults {
    const char *id;                       /* of the event */
    int64_t time_us;                      /* now, by the clock in use */
    struct mp_slice topic, trigger, data; /* ptr not NULL: these win */
    struct mp_slice target; /* "PUT /x?a=b", as these; the path is encoded */
};

/* value NULL: an empty event.  Members of `allowed` (NULL at its end) may
 * stand in it besides, and are left alone. */
MP_MUST int mp_step_read(struct mp_step *step, const struct mp_function *fn,
                         const struct mp_tree *value,
                         const struct mp_step_defaults *defaults,
                         const char *const *allowed, struct mp_why *why);
void mp_step_fini(struct mp_step *step);

/*
 * Is each member of the object v one of words (NULL at the end)?  where says
 * what v is: "expect".
 */
MP_MUST int mp_step_members(const struct mp_tree *v, const char *where,
                            const char *const *words, struct mp_why *why);

#endif
