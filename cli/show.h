/*
 * show.h - outcomes and effects as people and programs read them.
 *
 * Process  command line.   Thread  any.
 * Memory   appends to a buffer of the caller.
 * Errors   none: what is shown was checked when it came, and its effects are
 *          complete (solo.h); bytes
 *          that would harm a terminal are escaped.
 */
#ifndef MP_SHOW_H
#define MP_SHOW_H

#include "cli/tree.h"
#include "core/function.h"

/* One run, or a load that failed. */
struct mp_shown {
    const struct mp_function *fn; /* NULL: it could not be read */
    const struct mp_outcome *out;
    uint64_t start_ns;    /* what it took before user code ran */
    struct mp_slice logs; /* of the initialiser, when this run is the */
    uint32_t n_logs;      /* first after it */
};

/* Lines as in the reference, section 8. */
void mp_show_text(const struct mp_shown *s, struct mp_buf *b);

/* One object in one line, all members always there, null where none.  retry
 * is {"after": SECONDS} of a run that raised mp.retry, SECONDS null if it named
 * no time. */
void mp_show_json(const struct mp_shown *s, struct mp_buf *b);

/* {"outcome":..., ...} of something that failed before it had a function. */
void mp_show_json_failure(struct mp_slice error, struct mp_buf *b);

/* Append text for a terminal: control bytes and bad UTF-8 are escaped. */
void mp_show_clean(struct mp_slice text, struct mp_buf *b);

/* "310 ns", "9 µs", "1.2 ms", "3.4 s" */
void mp_show_duration(uint64_t ns, struct mp_buf *b);

/* "30m", "1h30m", "250ms": a duration as it is written. */
void mp_show_span(int64_t us, struct mp_buf *b);

/*
 * The effects of a kind (0: of all) as a JSON list.  wanted is the list a test
 * expects: where that has a data that is no string, ours is put as the JSON
 * value it is, and where it has a duration in words, ours is put in words;
 * NULL: data is always its text, a duration a number of seconds.
 */
void mp_show_effects(const struct mp_outcome *out, unsigned kind,
                     const struct mp_tree *wanted, struct mp_buf *b);

/* The result as a JSON value.  as_value: a text that is JSON counts as what
 * it means. */
void mp_show_result(const struct mp_outcome *out, bool as_value,
                    struct mp_buf *b);

/* What a batch said of its events: [{"event":2,"retry":"busy"}], counted from
 * 1; with "reject" in the place of "retry". */
void mp_show_verdicts(const struct mp_outcome *out, struct mp_buf *b);

/* "warn  message  name=value", without a line end. */
void mp_show_log_line(const struct mp_log_line *line, struct mp_buf *b);

#endif
