/*
 * fuzz_zone.c - any bytes at all, as a zone file, as a zone's rule and as the
 * five fields of cron.
 *
 * What must hold: nothing outside the bytes is read; whatever is taken
 * answers within its bounds; local time that was shown is found again; the
 * rule that a zone gives out is one; cron's next run is later.
 */
#include <stdlib.h>

#include "core/cron.h"
#include "core/zone_impl.h"
#include "tests/corpus/zone/rows.h"
#include "tests/fuzz/fuzz_main.h"

static int64_t local_at(const struct mp_zone *z, int64_t utc_s)
{
    const struct mp_zone_type *t = mp_zone_at(z, utc_s);

    MP_ASSERT(t->offset_s >= MP_ZONE_OFFSET_MIN &&
              t->offset_s <= MP_ZONE_OFFSET_MAX);
    MP_ASSERT(mp_zone_abbr_valid(mp_slice_str(t->abbr)));
    return utc_s + t->offset_s;
}

static void check_local(const struct mp_zone *z, int64_t local_s)
{
    struct mp_zone_instant in = mp_zone_find(z, local_s);

    if (in.fit == MP_ZONE_GAP) {
        MP_ASSERT(local_at(z, in.utc_s) > local_s);
        MP_ASSERT(local_at(z, in.utc_s - 1) < local_s);
        return;
    }
    MP_ASSERT(local_at(z, in.utc_s) == local_s);
    MP_ASSERT(local_at(z, in.second_s) == local_s);
    MP_ASSERT((in.second_s > in.utc_s) == (in.fit == MP_ZONE_FOLD));
}

static void check_at(const struct mp_zone *z, int64_t utc_s)
{
    int64_t local = local_at(z, utc_s);
    struct mp_zone_instant in = mp_zone_find(z, local);

    MP_ASSERT(in.fit != MP_ZONE_GAP && in.utc_s <= utc_s);
    for (int i = -3; i <= 3; i++)
        check_local(z, local + i * INT64_C(1800));
}

static void check_zone(const struct mp_zone *z)
{
    struct mp_slice posix = mp_slice_str(mp_zone_posix(z));
    const int64_t most = MP_ZONE_SECONDS_MAX - 4 * 86400;
    struct mp_zone *rule = NULL;
    struct mp_why why;

    MP_ASSERT(mp_zone_read_posix(&rule, posix, &why) == 0);
    check_at(rule, INT64_C(1767225600));
    mp_zone_close(rule);
    check_at(z, most);
    check_at(z, -most);
    for (int64_t t = -INT64_C(4000000000); t < INT64_C(9000000000);
         t += INT64_C(1000000007))
        check_at(z, t);
    for (uint32_t i = 0; i < z->n_times && i < 32; i++)
        if (z->times[i] > -most && z->times[i] < most)
            check_at(z, z->times[i]);
}

static void check_cron(struct mp_slice bytes)
{
    struct mp_zone *z = NULL;
    struct mp_cron c;
    struct mp_why why;
    int64_t at = 1700000000;

    if (mp_cron_parse(&c, bytes, &why))
        return;
    MP_ASSERT(mp_zone_read(&z, mp_slice(zone_isle, sizeof zone_isle), &why) ==
              0);
    for (int i = 0; i < 5; i++) {
        int64_t next = mp_cron_next(&c, z, at);

        MP_ASSERT(next > at);
        at = next;
    }
    mp_zone_close(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = mp_alloc(size);
    struct mp_slice bytes = mp_slice(exact, size);
    struct mp_zone *z = NULL;
    struct mp_why why;

    if (size)
        memcpy(exact, data, size);
    if (mp_zone_read(&z, bytes, &why) == 0) {
        check_zone(z);
        mp_zone_close(z);
    }
    if (mp_zone_read_posix(&z, bytes, &why) == 0) {
        check_zone(z);
        mp_zone_close(z);
    }
    check_cron(bytes);
    free(exact);
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *fuzz_word(uint64_t any)
{
    static const char *const words[] = {
        "TZif2",   "TZif",    ",M3.5.0", ",M10.1.6/-3", "/167", ",J60",
        "<+1030>", "-10:30",  ",0",      ",365/25",     "\n",   "\377\377",
        " */5",    " 0 ",     "mon-fri", "jan",         "1-31", " * * *",
        "29 2",    "@weekly", "UTC0"};

    return words[any % ARRAY_LEN(words)];
}

static void fuzz_seeds(void)
{
    fuzz_add(mp_slice(zone_strait, sizeof zone_strait));
    fuzz_add(mp_slice(zone_isle, sizeof zone_isle));
    fuzz_add(MP_S("CET-1CEST,M3.5.0,M10.5.0/3"));
    fuzz_add(MP_S("EST5EDT,0/0,J365/25"));
    fuzz_add(MP_S("*/15 0-5,22,23 1-31/2 jan-dec mon-fri"));
    fuzz_add(MP_S("0 0 29 2 *"));
}
#endif
