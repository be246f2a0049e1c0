/*
 * breaker.c - three states and a pause that doubles.
 */
#include "core/breaker.h"

bool mp_breaker_may_start(struct mp_breaker *b, int64_t now_us)
{
    if (b->state == MP_BREAKER_OPEN && now_us >= b->until_us) {
        b->state = MP_BREAKER_HALF;
        b->probing = false;
    }
    if (b->state == MP_BREAKER_HALF)
        return !b->probing;
    return b->state == MP_BREAKER_CLOSED;
}

void mp_breaker_started(struct mp_breaker *b)
{
    if (b->state == MP_BREAKER_HALF)
        b->probing = true;
}

void mp_breaker_ok(struct mp_breaker *b)
{
    /* One that started before the quarantine proves nothing now. */
    if (b->state == MP_BREAKER_OPEN)
        return;
    mp_breaker_reset(b);
}

void mp_breaker_forget(struct mp_breaker *b)
{
    b->probing = false;
}

static void grow(struct mp_breaker *b, const struct mp_breaker_rule *rule)
{
    b->pause_us *= 2;
    if (b->pause_us > rule->max_pause_us)
        b->pause_us = rule->max_pause_us;
}

bool mp_breaker_failed(struct mp_breaker *b, const struct mp_breaker_rule *rule,
                       int64_t now_us)
{
    b->in_a_row++;
    if (b->state == MP_BREAKER_OPEN)
        return false;
    if (b->state == MP_BREAKER_CLOSED) {
        if (b->in_a_row < rule->failures)
            return false;
        b->pause_us = rule->pause_us;
        b->held_back = 0;
    } else {
        grow(b, rule);
    }
    b->state = MP_BREAKER_OPEN;
    b->probing = false;
    b->until_us = now_us + b->pause_us;
    return true;
}

void mp_breaker_hold(struct mp_breaker *b, const struct mp_breaker_rule *rule,
                     int64_t now_us)
{
    bool again = b->again_us > 0;

    b->state = MP_BREAKER_OPEN;
    b->probing = false;
    b->until_us = INT64_MAX;
    b->again_us = 0;
    if (!rule)
        return;
    if (again)
        grow(b, rule);
    else
        b->pause_us = rule->pause_us;
    b->again_us = now_us + b->pause_us;
}

void mp_breaker_reset(struct mp_breaker *b)
{
    *b = (struct mp_breaker){.state = MP_BREAKER_CLOSED};
}
