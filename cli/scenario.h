/*
 * scenario.h - one file of a function's tests: its steps, run in order on a
 * real worker with a fake clock, and what was expected of each.
 *
 * Process  command line.
 * Memory   the result's text is the caller's to give back.
 * Errors   negative only when no worker can be started; a file that is wrong
 *          and a step that went otherwise are results.
 */
#ifndef MP_SCENARIO_H
#define MP_SCENARIO_H

#include "cli/solo.h"
#include "cli/tree.h"

struct mp_scenario {
    bool ok;
    unsigned steps;      /* that were run */
    int64_t took_us;     /* real time */
    struct mp_buf wrong; /* when not ok: "step 2: ..." */
};

/* What a file says it is about; ptr NULL: it doesn't. */
struct mp_slice mp_scenario_about(const struct mp_tree *file);

MP_MUST int mp_scenario_run(struct mp_scenario *result,
                            const struct mp_function *fn,
                            const struct mp_tree *file, struct mp_why *why);
void mp_scenario_fini(struct mp_scenario *result);

#endif
