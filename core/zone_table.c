/*
 * zone_table.c - the years that matter to a running function, as a table.
 *
 * A worker can open no zone file, and a rule in its environment would be right
 * for this law only.  So it gets each change from 1970 to 2100: some kilobytes
 * for a zone that changes its clocks, one row for one that doesn't.
 */
#include "core/base/local.h"
#include "core/civil.h"
#include "core/zone_impl.h"

#define FIRST_S INT64_C(0)
#define LAST_S INT64_C(4102444800) /* 2100-01-01 */

/* When something else may be in force, after utc_s. */
static int64_t next_change(const struct mp_zone *z, int64_t utc_s)
{
    for (uint32_t i = 0; i < z->n_times; i++)
        if (z->times[i] > utc_s)
            return z->times[i];
    return z->has_rule ? mp_zone_rule_span(&z->rule, utc_s).until_s : INT64_MAX;
}

void mp_zone_table(const struct mp_zone *z, struct mp_buf *table)
{
    for (int64_t at = FIRST_S; at < LAST_S; at = next_change(z, at)) {
        const struct mp_zone_type *type = mp_zone_at(z, at);
        struct mp_local row = {at, type->offset_s, type->dst, ""};

        memcpy(row.abbr, type->abbr, strnlen(type->abbr, MP_LOCAL_ABBR));
        mp_local_put(table, &row);
    }
}

int mp_zone_table_of(const char *name, struct mp_buf *table, struct mp_why *why)
{
    char system[MP_ZONE_NAME_MAX + 1];
    struct mp_zone *z;
    int rc;

    if (!name) {
        mp_zone_system(system);
        name = system;
    }
    rc = mp_zone_open(&z, MP_ZONE_DIR, mp_slice_str(name), why);
    if (rc) {
        mp_why_wrap(why, "time zone %s", name);
        return rc;
    }
    mp_zone_table(z, table);
    mp_zone_close(z);
    return 0;
}
