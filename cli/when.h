/*
 * when.h - points in time as people write them.
 *
 * Thread   any.   Memory  none.
 */
#ifndef MP_CLI_WHEN_H
#define MP_CLI_WHEN_H

#include "core/base/slice.h"

/*
 * RFC 3339: "2026-03-01T12:00:00Z", also with a fraction or an offset as
 * +01:00, from 1970 to 9999.  MP_EPARSE with a sentence.
 */
MP_MUST int mp_when_parse(struct mp_slice text, int64_t *wall_us,
                          struct mp_why *why);

#endif
