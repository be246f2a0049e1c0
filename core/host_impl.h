/*
 * host_impl.h - what the files of the host are to each other (core/host*.c,
 * core/careful.c only).
 *
 *   host.c        the story: an input comes, its turn comes, it ends
 *   host_done.c   an invocation has an outcome: what becomes real, and how
 *   host_rows.c   events that don't come from a transport: sends, alarms,
 *                 retries after a restart
 *   host_store.c  the database opens, fails, comes back
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_HOST_IMPL_H
#define MP_HOST_IMPL_H

#include "core/fnlog.h"
#include "core/host.h"
#include "core/outputs.h"

static inline struct mp_host *mp_host_of(const struct mp_invocation *inv)
{
    return inv->input->host;
}

/* ---- host.c ---- */

/* An invocation of v; it holds nothing and is queued nowhere. */
struct mp_invocation *mp_invocation_new(struct mp_host *h, struct mp_version *v,
                                        const struct mp_trigger *trigger,
                                        struct mp_input *in,
                                        const struct mp_pair *params,
                                        uint32_t n_params,
                                        const struct mp_slice *key);
/* It is over: whatever it still holds is let go. */
void mp_invocation_end(struct mp_invocation *inv);
/* Its actor may have its next event. */
void mp_invocation_leave_actor(struct mp_invocation *inv);
/* It is over for the host, and nothing of it may be acknowledged. */
void mp_invocation_lose(struct mp_invocation *inv);
/* Its input may be acknowledged, as far as this function is concerned. */
void mp_invocation_let_go(struct mp_invocation *inv);
/* With the transaction that gathers: this function is done with its input. */
void mp_invocation_note(struct mp_invocation *inv);
/* End it when the ticket is durable. */
void mp_invocation_end_with(struct mp_invocation *inv, uint64_t ticket);
/*
 * Does its trigger want the sender's id remembered, and which is it?  Two
 * senders may count from 1: what is remembered is the id on its topic (or of
 * its actor).  false: no.
 */
enum { MP_SENDER_ID = 16 };
bool mp_invocation_sender(const struct mp_invocation *inv,
                          char id[MP_SENDER_ID]);
/* Its row or alarm goes with the gathering transaction.  0: there is none. */
uint64_t mp_invocation_forget_source(struct mp_invocation *inv);
struct mp_trigger_metrics *mp_invocation_counters(struct mp_invocation *inv);
/* It can't be kept: a dead letter. */
void mp_invocation_refuse(struct mp_invocation *inv, enum mp_dead why,
                          const char *text);
/*
 * The host takes the event over: a row, or with QoS 0 only memory.  Its input
 * is let go when the row is durable.  False: past the function's bound.
 */
bool mp_invocation_park(struct mp_invocation *inv, enum mp_parked why,
                        int64_t due_us);
/* QUEUED or DELAYED: it is queued nowhere any more. */
void mp_invocation_take_out(struct mp_invocation *inv);
/* Done, but the broker has not confirmed its outputs: the outbox has them. */
void mp_invocation_park_outputs(struct mp_invocation *inv);
/* Into the pool, or parked or refused when there is no room. */
void mp_host_queue(struct mp_host *h, struct mp_invocation *inv);
/* The same, when being careful has let it through. */
void mp_host_queue_now(struct mp_host *h, struct mp_invocation *inv);
/* Run it again after a delay; it keeps its order key. */
void mp_invocation_delay(struct mp_invocation *inv, int64_t delay_us);
void mp_host_hold(struct mp_host *h);
/* The pool's: may it start now? */
bool mp_host_on_start(void *arg, struct mp_invocation *inv, int64_t now_us);
void mp_host_on_ask(void *arg, struct mp_invocation *inv,
                    const struct mp_wait *wait);

/* ---- host_done.c ---- */

/* An output left without the outbox (by = 1), or needs no watching any more
 * (by = -1). */
void mp_host_count_direct(struct mp_host *h, const struct mp_output *o, int by);

int mp_host_on_done(void *arg, struct mp_invocation *inv,
                    const struct mp_outcome *out);
/* A dead letter of what an invocation ran on; who is to be told is told, and
 * it ends when all that is safe. */
void mp_host_bury(struct mp_invocation *inv, enum mp_dead why,
                  const struct mp_outcome *out);
void mp_host_refused(void *arg, struct mp_slice fn, const struct mp_output *o,
                     unsigned reason, const char *why);

/* ---- host_rows.c ---- */

void mp_host_on_found(void *arg, struct mp_slot *slot,
                      const struct mp_row *row);
unsigned mp_host_room(void *arg, struct mp_slot *slot);
bool mp_host_on_alarm(void *arg, struct mp_alarm *alarm);
/* mp_host_enqueue, with the number of sends behind it; room was checked. */
int64_t mp_host_send(struct mp_host *h, struct mp_slice fn,
                     const struct mp_event *event, const char *reason,
                     int64_t delay_us, uint32_t hops, struct mp_told *t,
                     uint64_t *ticket);

/* ---- host_store.c ---- */

void mp_host_store_open(struct mp_host *h);
void mp_host_store_close(struct mp_host *h);
/* Both the database is loaded and functions are live: begin. */
void mp_host_begin(struct mp_host *h);

#endif
