/*
 * show.h - rows of the database as the JSON of the REST interface.
 *
 * A list is one object: the rows, and `after`, which asks for those behind
 * them (null: these were all).
 *
 *   {"dead_letters":[{"id":17,"function":"overheat",...}],"after":17}
 *
 * Process  host, in the reader's thread; the command line when no host runs.
 * Thread   that of the connection.
 * Memory   appends to a buffer of the caller.
 * Errors   MP_ENONE: no such row; MP_EFULL: longer than the buffer; MP_EIO.
 */
#ifndef MP_CORE_SHOW_H
#define MP_CORE_SHOW_H

#include "core/base/wire.h"
#include "core/request.h"
#include "core/store.h"

/* Room for one answer.  A list ends at MP_ANSWER_MAX; one dead letter with a
 * payload of 8 MB, each byte of it escaped, fits into this. */
enum { MP_SHOWN_MAX = 64 << 20 };

/*
 * Answer a request that only reads: MP_ASKED_ACTORS, STATE, STATE_GET, DEAD,
 * DEAD_GET, QUEUE, ALARMS.  now_us: the timeline.  functions: the names that
 * there are, a line each; ptr NULL: that isn't known.
 */
MP_MUST int mp_show_rows(struct mp_db *db, const struct mp_request *r,
                         int64_t now_us, struct mp_slice functions,
                         struct mp_buf *out, struct mp_why *why);

/* The same of what core/state.h has answered (its names are actors, values,
 * or the one value that was asked for). */
MP_MUST int mp_show_answer(const struct mp_request *r,
                           const struct mp_resume *answer, int64_t now_us,
                           struct mp_buf *out, struct mp_why *why);

/* What became of an event, as struct mp_told is told of it. */
void mp_show_outcome(struct mp_slice id, const struct mp_outcome *outcome,
                     const char *why, struct mp_buf *out);

/* Problem details (RFC 9457). */
void mp_show_problem(unsigned status, const char *title, const char *detail,
                     struct mp_buf *out);

#endif
