/*
 * local.c - a row is found by halving; an instant by trying the offsets of
 * before and after.
 */
#include "core/base/local.h"

/* More than any offset, and less than lies between two changes. */
enum { AROUND_S = 26 * 3600 };

void mp_local_put(struct mp_buf *table, const struct mp_local *row)
{
    char bytes[MP_LOCAL_ROW] = {0};

    memcpy(bytes, &row->from_s, sizeof row->from_s);
    memcpy(bytes + 8, &row->offset_s, sizeof row->offset_s);
    bytes[12] = row->dst;
    memcpy(bytes + 13, row->abbr, strnlen(row->abbr, MP_LOCAL_ABBR));
    mp_buf_put(table, bytes, sizeof bytes);
}

static struct mp_local row_at(struct mp_slice table, size_t i)
{
    const char *at = table.ptr + i * MP_LOCAL_ROW;
    struct mp_local row = {.dst = at[12] != 0};

    memcpy(&row.from_s, at, sizeof row.from_s);
    memcpy(&row.offset_s, at + 8, sizeof row.offset_s);
    memcpy(row.abbr, at + 13, MP_LOCAL_ABBR);
    return row;
}

/* The last row that is not after utc_s, or the first. */
static size_t find(struct mp_slice table, int64_t utc_s)
{
    size_t low = 0, high = table.len / MP_LOCAL_ROW;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (row_at(table, middle).from_s <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct mp_local mp_local_at(struct mp_slice table, int64_t utc_s)
{
    if (table.len < MP_LOCAL_ROW)
        return (struct mp_local){.abbr = "UTC"};
    return row_at(table, find(table, utc_s));
}

/* The offset of the nearest time that is DST, or isn't; else_s: none is. */
static int32_t offset_like(struct mp_slice table, int64_t utc_s, bool dst,
                           int32_t else_s)
{
    size_t i, n = table.len / MP_LOCAL_ROW;

    if (!n)
        return else_s;
    i = find(table, utc_s);
    if (i > 0 && row_at(table, i - 1).dst == dst)
        return row_at(table, i - 1).offset_s;
    if (i + 1 < n && row_at(table, i + 1).dst == dst)
        return row_at(table, i + 1).offset_s;
    return else_s;
}

int64_t mp_local_utc(struct mp_slice table, int64_t local_s, int dst)
{
    int32_t before = mp_local_at(table, local_s - AROUND_S).offset_s;
    int32_t after = mp_local_at(table, local_s + AROUND_S).offset_s;
    int64_t first = local_s - before, second = local_s - after;
    struct mp_local found = mp_local_at(table, first);

    if (found.offset_s != before) { /* after the change, or in its gap */
        struct mp_local other = mp_local_at(table, second);

        if (other.offset_s == after) {
            first = second;
            found = other;
        }
    } else if (dst >= 0 && found.dst != (dst == 1)) {
        struct mp_local other = mp_local_at(table, second);

        if (other.offset_s == after && other.dst == (dst == 1))
            return second; /* shown twice, and the second is meant */
    }
    if (dst >= 0 && found.dst != (dst == 1))
        return local_s - offset_like(table, first, dst == 1, found.offset_s);
    return first;
}
