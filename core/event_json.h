/*
 * event_json.h - events and values of state as JSON, for who looks at them.
 *
 * An event is written with the names of section 4 of the reference, only
 * those that apply, so that what `dlq show --json` prints is the start of a
 * test and what `invoke --event` takes.
 *
 * Thread   any.
 * Memory   appends to a buffer of the caller; check its `full` at the end.
 */
#ifndef MP_EVENT_JSON_H
#define MP_EVENT_JSON_H

#include "core/base/event.h"

/* One object in one line.  The payload is `data`, its exact text, or
 * `data_base64` when it isn't UTF-8. */
void mp_event_json(struct mp_buf *out, const struct mp_event *e);

/*
 * A value: numbers, booleans and tables as what they are, a string as one
 * where it is UTF-8, else {"base64": "..."}; null where there is none, and
 * for what JSON has no number for.
 */
void mp_value_json(struct mp_buf *out, const struct mp_value *v);

#endif
