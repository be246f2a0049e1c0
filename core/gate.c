/*
 * gate.c - the three states of a lane, and nothing else.
 *
 * What must stay true: while anything is in work the lane may not write, and
 * while anything is unsent (FLUSH) it may not read.  An acknowledgement that
 * the library has queued is therefore either withheld as a whole batch or
 * released as a whole batch, and never joins a batch it doesn't belong to.
 */
#include "core/gate.h"

#include "core/base/why.h"

void mp_gate_init(struct mp_gate *g, unsigned batch_messages,
                  size_t batch_bytes, bool read_on)
{
    MP_ASSERT(batch_messages > 0 && batch_bytes > 0);
    *g = (struct mp_gate){
        .state = MP_GATE_READ,
        .batch_messages = batch_messages,
        .batch_bytes = batch_bytes,
        .read_on = read_on,
    };
}

bool mp_gate_may_read(const struct mp_gate *g)
{
    if (g->bytes >= g->batch_bytes)
        return false;
    if (g->state == MP_GATE_READ)
        return g->messages < g->batch_messages;
    return g->state == MP_GATE_HELD && g->read_on &&
           g->in_work < g->batch_messages;
}

bool mp_gate_may_write(const struct mp_gate *g)
{
    return g->state == MP_GATE_FLUSH;
}

void mp_gate_took(struct mp_gate *g, uint8_t qos, size_t bytes)
{
    MP_ASSERT(g->state != MP_GATE_FLUSH);
    g->messages++;
    g->bytes += bytes;
    if (qos > 0)
        g->in_work++;
}

static void held_ends(struct mp_gate *g, int64_t now_us)
{
    if (g->held_us)
        g->held_total_us += now_us - g->held_us;
    g->held_us = 0;
}

void mp_gate_settled(struct mp_gate *g, int64_t now_us)
{
    MP_ASSERT(g->in_work > 0 && g->state != MP_GATE_FLUSH);
    if (--g->in_work == 0 && g->state == MP_GATE_HELD) {
        held_ends(g, now_us);
        g->state = MP_GATE_FLUSH;
    }
}

void mp_gate_dry(struct mp_gate *g, int64_t now_us)
{
    if (g->state != MP_GATE_READ)
        return;
    if (g->in_work == 0) {
        g->state = MP_GATE_FLUSH;
    } else {
        g->state = MP_GATE_HELD;
        g->held_us = now_us;
    }
}

void mp_gate_flushed(struct mp_gate *g)
{
    MP_ASSERT(g->state == MP_GATE_FLUSH && g->in_work == 0);
    g->state = MP_GATE_READ;
    g->messages = 0;
    g->bytes = 0;
}

void mp_gate_lost(struct mp_gate *g, int64_t now_us)
{
    held_ends(g, now_us);
    g->state = MP_GATE_READ;
    g->in_work = 0;
    g->messages = 0;
    g->bytes = 0;
}
