/*
 * pattern.h - the one language for MQTT topics, CoAP paths and HTTP paths.
 *
 * A pattern is levels between '/'.  `{name}` takes one whole level of one
 * byte or more and binds a param; `{name...}`, last, takes one level or more;
 * `+` and `#` match as in MQTT (section 4.7 of both standards) and bind
 * nothing.  A leading wildcard doesn't match a topic that starts with '$'.
 *
 * Process  host and command line.   Thread  any; patterns are constant.
 * Memory   a pattern owns its text; params borrow from topic and pattern.
 * Errors   mp_pattern_parse says what is wrong in a sentence.
 */
#ifndef MP_PATTERN_H
#define MP_PATTERN_H

#include "core/base/event.h"
#include "core/base/topic.h"

enum mp_level_kind {
    MP_LEVEL_LITERAL,
    MP_LEVEL_ONE,  /* + or {name} */
    MP_LEVEL_REST, /* # or {name...} */
};

struct mp_level_part {
    enum mp_level_kind kind;
    struct mp_slice text; /* the literal, or the name; "" for + and # */
};

struct mp_pattern {
    char *text; /* as written; owned */
    struct mp_level_part levels[MP_LEVELS_MAX];
    unsigned n_levels;
};

MP_MUST int mp_pattern_parse(struct mp_pattern *p, struct mp_slice text,
                             struct mp_why *why);
void mp_pattern_fini(struct mp_pattern *p);

/*
 * Does the topic match?  Then params (of MP_PAIRS_MAX) and n_params are set.
 */
bool mp_pattern_match(const struct mp_pattern *p, struct mp_slice topic,
                      struct mp_pair *params, uint32_t *n_params);

/* Does the pattern bind a param of this name? */
bool mp_pattern_binds(const struct mp_pattern *p, struct mp_slice name);

/* The MQTT topic filter that brings everything the pattern matches. */
void mp_pattern_filter(const struct mp_pattern *p, struct mp_buf *filter);

/* ---- MQTT topic filters, beside those of core/base/topic.h ---- */

/* Is there a topic that both match? */
bool mp_filter_overlap(struct mp_slice a, struct mp_slice b);
/*
 * The narrowest filter that matches all that either matches.  Nothing is put
 * when there is none: one is for topics that start with '$', one for others
 * (such filters never overlap).
 */
void mp_filter_cover(struct mp_slice a, struct mp_slice b, struct mp_buf *out);

#endif
