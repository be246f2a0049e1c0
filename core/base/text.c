/*
 * text.c - edit distance with swaps (Damerau, "optimal string alignment") on
 * words of at most WORD_MAX bytes, which is longer than any word of ours; the
 * rest are plain cuts of slices.
 */
#include "core/base/text.h"

enum { WORD_MAX = 48 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned distance(struct mp_slice a, struct mp_slice b)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *back2 = rows[0], *back = rows[1], *row = rows[2], *spare;

    for (unsigned j = 0; j <= b.len; j++)
        back[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            bool same = a.ptr[i - 1] == b.ptr[j - 1];

            row[j] = least(back[j - 1] + !same, least(back[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
                a.ptr[i - 2] == b.ptr[j - 1])
                row[j] = least(row[j], back2[j - 2] + 1);
        }
        spare = back2;
        back2 = back;
        back = row;
        row = spare;
    }
    return back[b.len];
}

const char *mp_nearest(struct mp_slice word, const char *const *words, size_t n)
{
    unsigned best = word.len <= 4 ? 2 : 3; /* one more than what counts */
    const char *found = NULL;

    if (!word.len || word.len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        struct mp_slice other = mp_slice_str(words[i]);
        unsigned d;

        if (other.len > WORD_MAX)
            continue;
        d = distance(word, other);
        if (d == 0)
            return NULL;
        if (d < best) {
            best = d;
            found = words[i];
        }
    }
    return found;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct mp_slice mp_trim(struct mp_slice s)
{
    while (s.len && blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

struct mp_slice mp_cut(struct mp_slice s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return mp_slice(s.ptr, max);
}

bool mp_has(struct mp_slice s, char c)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == c)
            return true;
    }
    return false;
}

bool mp_starts(struct mp_slice s, const char *with)
{
    size_t len = strlen(with);

    return s.len >= len && memcmp(s.ptr, with, len) == 0;
}

bool mp_ends(struct mp_slice s, const char *with)
{
    size_t len = strlen(with);

    return s.len >= len && memcmp(s.ptr + s.len - len, with, len) == 0;
}

bool mp_split(struct mp_slice *rest, char sep, struct mp_slice *part)
{
    const char *at;

    if (!rest->ptr)
        return false;
    at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
    if (!at) {
        *part = *rest;
        *rest = (struct mp_slice){NULL, 0};
        return true;
    }
    *part = mp_slice(rest->ptr, (size_t)(at - rest->ptr));
    *rest = mp_slice(at + 1, rest->len - part->len - 1);
    return true;
}
