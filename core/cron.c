/*
 * cron.c - a set of bits a field, and a walk over local time.
 *
 * The next run is found in local time, where the fields mean something: from
 * the field with the longest stride to the shortest, what doesn't match is
 * stepped over.  The local time found is then looked up in the zone, which
 * never goes backwards when local time goes on: each local time is mapped to
 * the first instant at which clocks show it or more.  So the first match
 * that maps past the instant asked for is the answer.
 */
#include "core/cron.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "core/base/text.h"
#include "core/civil.h"

/*
 * 29 February on a given weekday comes after 40 years at most (once every 28,
 * and years like 2100 have none); nothing that passes the parser is rarer.
 */
enum { YEARS_MAX = 41 };
enum { FEBRUARY = 2, SHOWN_MAX = 40 };

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const char *const month_names[] = {"jan", "feb", "mar", "apr",
                                          "may", "jun", "jul", "aug",
                                          "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed",
                                            "thu", "fri", "sat"};

static const struct field {
    const char *name, *allowed;
    int min, max; /* what a number may be */
    int last;     /* what * goes to */
    const char *const *names;
    int n_names;
} fields[FIELDS] = {
    {"minute", "0 to 59", 0, 59, 59, NULL, 0},
    {"hour", "0 to 23", 0, 23, 23, NULL, 0},
    {"day of the month", "1 to 31", 1, 31, 31, NULL, 0},
    {"month", "1 to 12, or jan to dec", 1, 12, 12, month_names, 12},
    {"weekday", "0 to 7 (0 and 7: Sunday), or sun to sat", 0, 7, 6,
     weekday_names, 7},
};

static const struct {
    const char *name, *fields;
} shorthands[] = {{"@hourly", "0 * * * *"},
                  {"@daily", "0 0 * * *"},
                  {"@weekly", "0 0 * * 0"},
                  {"@monthly", "0 0 1 * *"}};

/* ---- parsing ---- */

MP_PRINTF(4, 5)
static int refuse(struct mp_why *why, const char *field, struct mp_slice bad,
                  const char *fmt, ...)
{
    char text[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bad = mp_cut(bad, SHOWN_MAX);
    return mp_why_set(why, MP_EPARSE, "%s '%.*s': %s", field, MP_FMT(bad),
                      text);
}

/* Digits only, at most max. */
static bool number(struct mp_slice text, int max, int *n)
{
    *n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!isdigit((unsigned char)text.ptr[i]))
            return false;
        *n = *n * 10 + (text.ptr[i] - '0');
        if (*n > max)
            return false;
    }
    return text.len > 0;
}

static bool value(const struct field *f, struct mp_slice text, int *n)
{
    for (int i = 0; i < f->n_names; i++)
        if (text.len == strlen(f->names[i]) &&
            strncasecmp(text.ptr, f->names[i], text.len) == 0) {
            *n = i + f->min;
            return true;
        }
    return number(text, f->max, n) && *n >= f->min;
}

/* One item of a list: adds its bits. */
static int parse_item(const struct field *f, struct mp_slice item,
                      uint64_t *bits, struct mp_why *why)
{
    struct mp_slice step = item, low, high;
    int from = f->min, to = f->last, by = 1;
    bool every, range;

    mp_split(&step, '/', &high);
    every = mp_slice_is(high, "*");
    mp_split(&high, '-', &low);
    range = high.ptr != NULL;
    if (!every && (!value(f, low, &from) || (range && !value(f, high, &to))))
        return refuse(why, f->name, item, "%s", f->allowed);
    if (!every && !range)
        to = from;
    if (step.ptr && !every && !range)
        return refuse(why, f->name, item,
                      "a step follows * or a range, as in %d-%d/2", f->min,
                      f->last);
    if (step.ptr && (!number(step, f->last, &by) || by < 1))
        return refuse(why, f->name, item, "a step is 1 to %d", f->last);
    if (f == &fields[WEEKDAY] && from > to && to == 0)
        to = 7; /* up to Sunday */
    if (f == &fields[WEEKDAY] && from == 7 && to < 7)
        from = 0;
    if (from > to)
        return refuse(why, f->name, item,
                      "a range goes upwards; write %d-%d,%d-%d", from, f->last,
                      f->min, to);
    for (; from <= to; from += by)
        *bits |= UINT64_C(1) << from;
    return 0;
}

static int parse_field(const struct field *f, struct mp_slice text,
                       uint64_t *bits, struct mp_why *why)
{
    struct mp_slice rest = text, item;

    while (mp_split(&rest, ',', &item)) {
        if (!item.len)
            return refuse(why, f->name, text,
                          "a comma stands between two values");
        if (parse_item(f, item, bits, why))
            return MP_EPARSE;
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The words of text, at most max of them; returns how many there are. */
static unsigned split_words(struct mp_slice text, struct mp_slice *words,
                            unsigned max)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    unsigned n = 0;

    for (;;) {
        const char *from;

        while (at < end && is_blank(*at))
            at++;
        if (at == end)
            return n;
        from = at;
        while (at < end && !is_blank(*at))
            at++;
        if (n++ < max)
            words[n - 1] = mp_slice(from, (size_t)(at - from));
    }
}

/* Is there a day that the day and month fields both name? */
static int check_days(const struct mp_cron *c, struct mp_why *why)
{
    int month = 0, day = 1;

    for (int m = 12; m >= 1; m--) {
        /* 2000: the longest February */
        uint32_t days = (UINT32_C(2) << mp_month_days(2000, m)) - 1;

        if (!(c->months >> m & 1))
            continue;
        if (c->days & days)
            return 0;
        month = m;
    }
    while (!(c->days >> day & 1))
        day++;
    return mp_why_set(why, MP_EPARSE, "never: there is no %d %s", day,
                      month == FEBRUARY ? "February"
                      : month == 4      ? "April"
                      : month == 6      ? "June"
                      : month == 9      ? "September"
                                        : "November");
}

static int parse_five(struct mp_cron *c, const struct mp_slice *words,
                      struct mp_why *why)
{
    uint64_t bits[FIELDS] = {0};

    for (int i = 0; i < FIELDS; i++)
        if (parse_field(&fields[i], words[i], &bits[i], why))
            return MP_EPARSE;
    if (bits[WEEKDAY] >> 7) /* Sunday has two numbers */
        bits[WEEKDAY] |= 1;
    *c = (struct mp_cron){
        .minutes = bits[MINUTE],
        .hours = (uint32_t)bits[HOUR],
        .days = (uint32_t)bits[DAY],
        .months = (uint16_t)bits[MONTH],
        .weekdays = (uint8_t)(bits[WEEKDAY] & 0x7f),
        .either = words[DAY].ptr[0] != '*' && words[WEEKDAY].ptr[0] != '*',
    };
    return c->either ? 0 : check_days(c, why);
}

int mp_cron_parse(struct mp_cron *c, struct mp_slice text, struct mp_why *why)
{
    struct mp_slice words[FIELDS];
    unsigned n = split_words(text, words, FIELDS);

    if (n == 1 && words[0].ptr[0] == '@') {
        for (size_t i = 0; i < ARRAY_LEN(shorthands); i++)
            if (mp_slice_is(words[0], shorthands[i].name))
                return mp_cron_parse(c, mp_slice_str(shorthands[i].fields),
                                     why);
        return refuse(why, "cron", words[0],
                      "@hourly, @daily, @weekly, @monthly or five fields");
    }
    if (n != FIELDS)
        return refuse(why, "cron", mp_trim(text),
                      "five fields are needed (minute, hour, day of the "
                      "month, month, weekday), not %u",
                      n);
    return parse_five(c, words, why);
}

/* ---- the next run ---- */

static bool day_matches(const struct mp_cron *c, const struct mp_civil *t)
{
    bool day = c->days >> t->day & 1, weekday = c->weekdays >> t->weekday & 1;

    return c->either ? day || weekday : day && weekday;
}

/* The start of the first local minute from local_s on that the fields name,
 * or at least end_s. */
static int64_t next_match(const struct mp_cron *c, int64_t local_s,
                          int64_t end_s)
{
    int64_t at = local_s;

    while (at < end_s) {
        struct mp_civil t = mp_civil_at(at);
        int64_t day = mp_floor_div(at, MP_DAY_S) * MP_DAY_S;

        if (!(c->months >> t.month & 1))
            at = day + (int64_t)(mp_month_days(t.year, t.month) - t.day + 1) *
                           MP_DAY_S;
        else if (!day_matches(c, &t))
            at = day + MP_DAY_S;
        else if (!(c->hours >> t.hour & 1))
            at = day + (t.hour + 1) * MP_HOUR_S;
        else if (t.second || !(c->minutes >> t.minute & 1))
            at += MP_MINUTE_S - t.second;
        else
            break;
    }
    return at;
}

int64_t mp_cron_next(const struct mp_cron *c, const struct mp_zone *zone,
                     int64_t after_s)
{
    int64_t local = after_s + mp_zone_at(zone, after_s)->offset_s;
    int64_t end = local + (int64_t)YEARS_MAX * 366 * MP_DAY_S, next;

    /* What clocks show now, or less, they showed by now. */
    local = mp_floor_div(local, MP_MINUTE_S) * MP_MINUTE_S;
    do {
        local = next_match(c, local + MP_MINUTE_S, end);
        MP_ASSERT(local < end);
        next = mp_zone_find(zone, local).utc_s;
    } while (next <= after_s);
    return next;
}
