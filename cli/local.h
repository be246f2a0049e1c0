/*
 * local.h - answers the requests of core/request.h from a database that no
 * host has open.
 *
 * What needs a host (sending an event, metrics) is refused.  Changes are one
 * transaction each, durable on return.
 *
 * Process  command line; the caller holds the lock of the directory.
 * Thread   one.
 * Errors   as core/admin.h and core/show.h have them.
 */
#ifndef MP_LOCAL_H
#define MP_LOCAL_H

#include "core/request.h"
#include "core/store.h"

struct mp_local {
    struct mp_db *db;
    int64_t now_us; /* the timeline, as well as it is known */
};

/* MP_ENONE: there is no database in the directory. */
MP_MUST int mp_local_open(struct mp_local *l, const char *data,
                          uint64_t max_size, struct mp_why *why);
void mp_local_close(struct mp_local *l);

MP_MUST int mp_local_answer(struct mp_local *l, const struct mp_request *r,
                            struct mp_slice body, struct mp_buf *out,
                            struct mp_why *why);

#endif
