/*
 * function_trigger.h - a [trigger] section: from its lines to a struct
 * mp_trigger, and the rules that tie its keys together.
 *
 * Process  host and command line.   Thread  any.
 * Memory   what is said of a trigger is the caller's: mp_trigger_said_fini.
 * Errors   each mistake is told to the report of the keys.
 */
#ifndef MP_FUNCTION_TRIGGER_H
#define MP_FUNCTION_TRIGGER_H

#include "core/keys.h"

/* What is asked of a trigger's lines when the whole file was read. */
struct mp_trigger_said {
    bool retained;  /* it says so itself */
    unsigned auth;  /* line of that; 0: none */
    char *answered; /* coap, http: "PUT /rooms/{room}", as written */
};

void mp_trigger_said_fini(struct mp_trigger_said *said);

/*
 * The section s of fn's next trigger was taken line by line into it and
 * keys->given: what it says together.  It counts from then on.
 */
void mp_trigger_take(struct mp_function *fn, struct mp_trigger_said *said,
                     const struct mp_keys *keys,
                     const struct mp_ini_section *s);

/* A trigger's key and pattern, as in "coap = PUT /rooms/{room}". */
const char *mp_trigger_shown(const struct mp_trigger *t,
                             const struct mp_trigger_said *said,
                             unsigned pattern, char text[128]);

/* What concerns several triggers, or [grant] too; said has one for each. */
void mp_triggers_check(const struct mp_function *fn,
                       const struct mp_trigger_said *said,
                       const struct mp_keys *keys);

#endif
