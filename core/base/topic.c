/*
 * topic.c - one walk over filter and topic, level by level.
 *
 * A literal level is compared before the end of the topic's level is looked
 * for: most filters that don't match differ in the first bytes.
 */
#include "core/base/topic.h"

#include "core/base/text.h"
#include "core/base/utf8.h"

enum { FILTER_MAX = 65535 };

/* U+0000-1F and 7F-9F, and the 66 noncharacters: valid UTF-8 that MQTT lets a
 * broker refuse, and mosquitto does. */
static bool unwanted(const unsigned char *s, size_t len)
{
    if (len == 1)
        return s[0] < 0x20 || s[0] == 0x7f;
    if (len == 2)
        return s[0] == 0xc2 && s[1] < 0xa0;
    if (len == 3)
        return s[0] == 0xef && ((s[1] == 0xb7 && s[2] >= 0x90 && s[2] < 0xb0) ||
                                (s[1] == 0xbf && s[2] >= 0xbe));
    return (s[1] & 0x0f) == 0x0f && s[2] == 0xbf && s[3] >= 0xbe;
}

static int check_text(struct mp_slice text, size_t max, struct mp_why *why)
{
    if (!text.len)
        return mp_why_set(why, MP_EPARSE, "is empty");
    if (text.len > max)
        return mp_why_set(why, MP_ERANGE, "is %zu bytes long; at most %zu",
                          text.len, max);
    while (text.len) {
        size_t len = mp_utf8_sequence(text);

        if (!len)
            return mp_why_set(why, MP_EPARSE, "is not UTF-8");
        if (unwanted((const unsigned char *)text.ptr, len))
            return mp_why_set(why, MP_EPARSE, "holds a control character");
        text = mp_slice(text.ptr + len, text.len - len);
    }
    return 0;
}

int mp_topic_check(struct mp_slice topic, struct mp_why *why)
{
    int rc = check_text(topic, MP_TOPIC_MAX, why);

    if (rc)
        return rc;
    if (mp_has(topic, '+') || mp_has(topic, '#'))
        return mp_why_set(why, MP_EPARSE, "holds a wildcard");
    return 0;
}

int mp_filter_check(struct mp_slice filter, struct mp_why *why)
{
    struct mp_slice rest = filter, level;
    int rc = check_text(filter, FILTER_MAX, why);

    if (rc)
        return rc;
    while (mp_split(&rest, '/', &level)) {
        bool one = mp_has(level, '+');
        bool all = mp_has(level, '#');

        if ((one || all) && level.len > 1)
            return mp_why_set(why, MP_EPARSE,
                              "has a wildcard that is not a whole level");
        if (all && rest.ptr)
            return mp_why_set(why, MP_EPARSE, "has levels behind #");
    }
    return 0;
}

bool mp_filter_match(struct mp_slice filter, struct mp_slice topic)
{
    const char *f = filter.ptr, *f_end = f + filter.len;
    const char *t = topic.ptr, *t_end = t + topic.len;

    if (!filter.len || !topic.len)
        return false;
    if (*t == '$' && (*f == '+' || *f == '#'))
        return false;
    for (;;) { /* both at the start of a level */
        if (f < f_end && *f == '#')
            return true;
        if (f < f_end && *f == '+') {
            f++;
            while (t < t_end && *t != '/')
                t++;
        } else {
            while (f < f_end && *f != '/') {
                if (t == t_end || *t != *f)
                    return false;
                f++;
                t++;
            }
            if (t < t_end && *t != '/')
                return false;
        }
        if (f == f_end)
            return t == t_end;
        f++; /* the filter goes on */
        if (t == t_end)
            return f_end - f == 1 && *f == '#';
        t++;
    }
}
