/*
 * session.c - the text of a session, and what its numbers mean.
 *
 *     moonpool-session 1
 *     epoch 9f86d081884c7d65
 *     half 3
 *     sub sure 1 retained 17 sensors/+/env
 *
 * sub: sure or unsure, QoS, retained or live, identifier, filter to the end
 * of the line.
 */
#include "core/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const char HEAD[] = "moonpool-session 1";

void mp_session_init(struct mp_session *s)
{
    *s = (struct mp_session){0};
}

static void forget_subs(struct mp_session *s)
{
    for (unsigned i = 0; i < s->n_subs; i++)
        free(s->subs[i].filter);
    free(s->subs);
    s->subs = NULL;
    s->n_subs = 0;
}

void mp_session_fini(struct mp_session *s)
{
    forget_subs(s);
    mp_session_init(s);
}

void mp_session_renew(struct mp_session *s)
{
    forget_subs(s);
    s->half = 0;
    do {
        if (getrandom(&s->epoch, sizeof(s->epoch), 0) != sizeof(s->epoch))
            mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    } while (s->epoch == 0);
}

struct mp_sub *mp_session_sub(struct mp_session *s, const char *filter)
{
    for (unsigned i = 0; i < s->n_subs; i++)
        if (strcmp(s->subs[i].filter, filter) == 0)
            return &s->subs[i];
    return NULL;
}

struct mp_sub *mp_session_add(struct mp_session *s, const char *filter)
{
    struct mp_sub *sub;

    s->subs = mp_realloc(s->subs, (s->n_subs + 1) * sizeof(*s->subs));
    sub = &s->subs[s->n_subs++];
    *sub = (struct mp_sub){.filter = mp_strndup(filter, strlen(filter))};
    return sub;
}

void mp_session_remove(struct mp_session *s, struct mp_sub *sub)
{
    free(sub->filter);
    *sub = s->subs[--s->n_subs];
}

static int parse_sub(struct mp_session *s, const char *line)
{
    char sure[8], retained[12];
    unsigned qos;
    uint32_t id;
    int at = 0;
    struct mp_sub *sub;

    if (sscanf(line, "sub %7s %1u %11s %" SCNu32 " %n", sure, &qos, retained,
               &id, &at) != 4 ||
        !at || !line[at] || qos > 1)
        return MP_EPARSE;
    sub = mp_session_add(s, line + at);
    sub->sure = strcmp(sure, "sure") == 0;
    sub->qos = (uint8_t)qos;
    sub->retained = strcmp(retained, "retained") == 0;
    sub->id = id;
    return 0;
}

static int parse_lines(struct mp_session *s, char *text)
{
    char *rest = NULL;
    char *line = strtok_r(text, "\n", &rest);

    if (!line || strcmp(line, HEAD) != 0)
        return MP_EPARSE;
    while ((line = strtok_r(NULL, "\n", &rest))) {
        if (sscanf(line, "epoch %" SCNx64, &s->epoch) == 1 ||
            sscanf(line, "half %" SCNu32, &s->half) == 1)
            continue;
        if (parse_sub(s, line))
            return MP_EPARSE;
    }
    return s->epoch ? 0 : MP_EPARSE;
}

int mp_session_parse(struct mp_session *s, struct mp_slice text)
{
    char *copy = mp_strndup(text.ptr, text.len);
    int rc;

    mp_session_init(s);
    rc = parse_lines(s, copy);
    if (rc)
        mp_session_fini(s);
    free(copy);
    return rc;
}

void mp_session_put(const struct mp_session *s, struct mp_buf *text)
{
    mp_buf_printf(text, "%s\nepoch %016" PRIx64 "\nhalf %" PRIu32 "\n", HEAD,
                  s->epoch, s->half);
    for (unsigned i = 0; i < s->n_subs; i++) {
        const struct mp_sub *sub = &s->subs[i];

        mp_buf_printf(text, "sub %s %u %s %" PRIu32 " ",
                      sub->sure ? "sure" : "unsure", sub->qos,
                      sub->retained ? "retained" : "live", sub->id);
        mp_buf_put(text, sub->filter, strlen(sub->filter));
        mp_buf_put(text, "\n", 1);
    }
}

/* The number with that packet id that is nearest to another. */
static uint32_t near(uint32_t to, uint16_t packet_id)
{
    /* Distance on the circle of ids, as sequence numbers are compared. */
    int64_t n = (int64_t)to + (int16_t)(packet_id - (uint16_t)to);

    return n > 0 ? (uint32_t)n : packet_id;
}

/* Nothing but the half is known: what is sent again is not beyond it. */
static uint32_t by_half(uint32_t half, uint16_t packet_id, bool dup)
{
    if ((half & 1) != packet_id >> 15) {
        if (!dup)
            half++;
        else if (half)
            half--;
    }
    return half >> 1 << 16 | packet_id;
}

uint32_t mp_session_sequence(const struct mp_session *s, uint16_t packet_id,
                             bool dup, uint32_t at, uint32_t top)
{
    if (at)
        return near(at, packet_id);
    if (top && top >> 15 >= s->half)
        return near(top, packet_id);
    return by_half(s->half, packet_id, dup);
}

bool mp_session_saw(struct mp_session *s, uint32_t sequence, uint32_t *at)
{
    if (!*at || sequence > *at)
        *at = sequence;
    if (sequence >> 15 <= s->half)
        return false;
    s->half = sequence >> 15;
    return true;
}
