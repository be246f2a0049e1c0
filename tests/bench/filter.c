/*
 * filter.c - what a filter costs an event, without a broker and without Lua.
 *
 *   filter [--events N] [--json]
 *
 * N readings of 90 bytes meet the stream lines of a trigger as the router and
 * the host call them: the filter is asked, and what it wants is put.  Half of
 * the readings pass; of those that don't, most fail in the first comparison
 * and some in the last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/stream.h"

enum { SAMPLES = 1000, LENGTH = 90, TRACKED = 10000 };

static const char condition[] = "temp > 30 and (hum < 80 or not door.open)";

static char samples[SAMPLES][LENGTH + 1];
static unsigned long passed, skipped;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "filter: %s\n", what);
    exit(1);
}

/* Shortest first: what is missing to 90 bytes the site's name has. */
static void make_samples(void)
{
    for (unsigned i = 0; i < SAMPLES; i++) {
        unsigned kind = i % 10; /* 0-4 pass, 5-8 too cold, 9 too humid */
        char head[LENGTH + 1];
        int len = snprintf(head, sizeof head,
                           "{\"device\":\"d%03u\",\"temp\":%.1f,\"hum\":%.1f,"
                           "\"door\":{\"open\":%s},\"seq\":%u,\"site\":\"",
                           i, kind < 5 || kind == 9 ? 31.4 : 21.4,
                           kind == 9 ? 85.5 : 48.2,
                           kind == 9 ? "true" : "false", 100000 + i);

        memset(samples[i], 'x', LENGTH);
        memcpy(samples[i], head, (size_t)len);
        memcpy(samples[i] + LENGTH - 2, "\"}", 2);
        samples[i][LENGTH] = '\0';
    }
}

static void pass(void *arg, struct mp_link *items, unsigned n)
{
    (void)arg;
    mp_list_each_safe (at, items)
        mp_list_unlink(at);
    passed += n;
}

static void skip(void *arg, struct mp_held *item, enum mp_stream_why why)
{
    (void)arg, (void)item, (void)why;
    skipped++;
}

static void run(struct mp_stream *s, unsigned long events)
{
    struct mp_held item = {0};
    struct mp_stream_values values;

    for (unsigned long i = 0; i < events; i++) {
        struct mp_stream_event event = {
            .data = mp_slice(samples[i % SAMPLES], LENGTH),
            .format = MP_FORMAT_AUTO,
        };

        if (mp_stream_wants(s->lines, &event, &values))
            mp_stream_put(s, &item, &event, &values, mp_now_us());
        else
            skipped++;
    }
}

int main(int argc, char **argv)
{
    static const struct mp_hash_key secret = {1, 2};
    const struct mp_stream_user user = {.pass = pass, .skip = skip};
    struct mp_stream_lines *lines = mp_stream_lines_new();
    unsigned long events = 1000000;
    struct mp_stream stream;
    struct mp_why why;
    bool json = false;
    int64_t start_us;
    double seconds;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--events") == 0 && i + 1 < argc)
            events = strtoul(argv[++i], NULL, 10);
        else
            give_up("usage: filter [--events N] [--json]");
    }
    if (mp_stream_lines_add(lines, MP_LINE_FILTER, mp_slice_str(condition),
                            &why))
        give_up(why.text);
    make_samples();
    mp_stream_init(&stream, lines, TRACKED, &secret, &user);
    run(&stream, SAMPLES); /* warm */
    if (passed != SAMPLES / 2)
        give_up("not half of the readings pass");
    start_us = mp_now_us();
    run(&stream, events);
    seconds = (double)(mp_now_us() - start_us) / MP_SECOND;
    if (passed + skipped != events + SAMPLES)
        give_up("an event got lost");
    mp_stream_fini(&stream);
    mp_stream_lines_free(lines);
    if (json)
        printf("{\"rate\":%.0f}\n", (double)events / seconds);
    else
        printf("%.0f events/s\n", (double)events / seconds);
    return 0;
}
