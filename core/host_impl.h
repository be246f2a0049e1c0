/*
 * host_impl.h - what the files of the host are to each other (core/host*.c,
 * core/careful.c only).
 *
 *   host.c        the story: an input comes, its turn comes, it ends
 *   host_stream.c what a trigger's lines let through, and what waits in them
 *   host_batch.c  events that are run together
 *   host_park.c   an event must not hold the broker back: the host takes it
 *                 over
 *   host_done.c   an invocation has an outcome: what becomes real, and how
 *   host_sending.c  outputs leave: by the outbox, or at once
 *   host_dead.c   an event is given up, and who is told
 *   host_reply.c  ... and what who asked by MQTT is told
 *   host_requests.c  who asks by CoAP or HTTP, and waits
 *   host_rows.c   events that don't come from a transport: sends, alarms,
 *                 retries after a restart
 *   host_doors.c  the transports, all told the same
 *   host_store.c  the database opens, fails, comes back
 *   host_life.c   the host begins, functions come and go, it pauses, it ends
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_HOST_IMPL_H
#define MP_HOST_IMPL_H

#include "core/fnlog.h"
#include "core/host.h"
#include "core/outputs.h"
#include "core/stream.h"

static inline struct mp_host *mp_host_of(const struct mp_invocation *inv)
{
    return inv->input->host;
}

/* What it is about, the last of a line's fields: sends and alarms have no
 * topic, and some sends no subject either (then the list ends here). */
static inline struct mp_field mp_host_about(const struct mp_invocation *inv)
{
    const struct mp_input *in = inv->input;

    if (in->topic.len)
        return MP_TEXT("topic", in->topic);
    return MP_TEXT(in->subject.len ? "subject" : NULL, in->subject);
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
/* Not run (any more), and nothing is kept of it. */
void mp_invocation_drop(struct mp_invocation *inv, enum mp_drop why);
/* It can't be kept: a dead letter. */
void mp_invocation_refuse(struct mp_invocation *inv, enum mp_dead why,
                          const char *text);
/* QUEUED or DELAYED: it is queued nowhere any more. */
void mp_invocation_take_out(struct mp_invocation *inv);
/* Into the pool, or parked or refused when there is no room. */
void mp_host_queue(struct mp_host *h, struct mp_invocation *inv);
/* The same, when being careful has let it through. */
void mp_host_queue_now(struct mp_host *h, struct mp_invocation *inv);
/*
 * Run it again after a delay; it keeps its order key.  Those that are delayed
 * are in no queue, and limits.queue does not count them.  They are bounded by
 * what stands behind them: a row (limits.park_bytes, [store] queue), an alarm
 * (the quota), the broker (it is parked after `hold`), and QoS 0 by
 * mp_invocation_may_wait.  The same is true of what careful.c makes wait.
 */
void mp_invocation_delay(struct mp_invocation *inv, int64_t delay_us);
/* The pool's: may it start now? */
bool mp_host_on_start(void *arg, struct mp_invocation *inv, int64_t now_us);
void mp_host_on_ask(void *arg, struct mp_invocation *inv,
                    const struct mp_wait *wait);

/* Make room for a new one by giving up the oldest that waits; false: there is
 * none. */
bool mp_host_drop_oldest(struct mp_slot *slot);
/* Stopped before it started: it leaves no trace in the scheduler. */
void mp_host_not_now(struct mp_invocation *inv);
bool mp_invocation_is_expired(const struct mp_invocation *inv, int64_t now_us);
/* Was what its sender gave this id applied already?  (One of a batch's.) */
bool mp_invocation_is_repeat(const struct mp_invocation *inv);
/* Then it ends, in no queue and no batch. */
void mp_invocation_skip_repeat(struct mp_host *h, struct mp_invocation *inv);

/* ---- host_stream.c ---- */

void mp_host_streams_open(struct mp_host *h);
void mp_host_streams_close(struct mp_host *h);
/* By the live versions; what waits in the windows of others passes. */
void mp_host_streams_bind(struct mp_host *h);
/* The host stops: all that still wait in windows pass. */
void mp_host_streams_flush(struct mp_host *h);
/* Events that have passed are lost, and come again: they must pass again. */
void mp_host_streams_forget(struct mp_host *h);
/* A new event of a trigger with lines; values: as mp_stream_wants gave them,
 * or NULL. */
void mp_host_stream_put(struct mp_host *h, struct mp_invocation *inv,
                        const struct mp_stream_values *values);
/* One that comes back from its row. */
void mp_host_stream_back(struct mp_host *h, struct mp_invocation *inv);
/* Out of its window (WINDOW): it is the caller's. */
void mp_host_stream_leave(struct mp_invocation *inv);

/* ---- host_batch.c ---- */

/* Those in the list, by their link, are to be run together: the list is
 * emptied. */
void mp_batch_queue(struct mp_host *h, struct mp_link *members);
/* Out of its batch (BATCHED), which is not in work: it is the caller's. */
void mp_batch_leave(struct mp_invocation *m);
/* The first one, out of a batch that is in no queue; NULL: there is none
 * (left), or b is no batch. */
struct mp_invocation *mp_batch_take(struct mp_invocation *b);
bool mp_batch_may_go(const struct mp_invocation *b,
                     bool (*may_go)(const struct mp_invocation *m));
void mp_batch_drop(struct mp_invocation *b, enum mp_drop why);
/* Those that may not wait outside of the queue are dropped. */
void mp_batch_may_wait(struct mp_invocation *b);
/* Its turn has come; false: it is over, or must be keyed anew. */
bool mp_batch_may_start(struct mp_host *h, struct mp_invocation *b,
                        int64_t now_us);
/* Its events run one by one, before all that wait behind it (it was started,
 * and isn't any more). */
void mp_batch_scatter(struct mp_host *h, struct mp_invocation *b);
void mp_batch_key_anew(struct mp_invocation *b);
/* Those that the verdicts of its outcome are about, out of it; to be freed. */
struct mp_invocation **mp_batch_part(struct mp_invocation *b,
                                     const struct mp_outcome *out);
/* The host stops: as far as its events come again, they are over. */
void mp_batch_put_aside(struct mp_invocation *b);
void mp_batch_sort_out(struct mp_host *h, struct mp_invocation *b);

/* ---- host_park.c ---- */

/*
 * The host takes the event over: a row, or with QoS 0 only memory.  Its input
 * is let go when the row is durable.  False: past the function's bound.
 */
bool mp_invocation_park(struct mp_invocation *inv, enum mp_parked why,
                        int64_t due_us);
/*
 * May it wait outside of its function's queue?  What only memory has (QoS 0)
 * counts, up to limits.queue of them.
 */
bool mp_invocation_may_wait(struct mp_invocation *inv);
/*
 * A new input, queued nowhere: behind all others of its function, on disk
 * only, and before it those that only the broker has.  With no room there it
 * is a dead letter; while the database is full it is blocked.
 */
void mp_invocation_spill(struct mp_invocation *inv);
/* A new input of a function in quarantine, queued: as above, but it stays in
 * memory too. */
void mp_invocation_park_quarantined(struct mp_invocation *inv);
/*
 * A row is made for that order key: inputs of the key that only the broker has
 * get theirs before it.  After a crash they would come behind it.
 */
void mp_host_park_key(struct mp_host *h, struct mp_slot *slot,
                      struct mp_slice okey);
/* An output left without the outbox (by = 1), or needs no watching any more
 * (by = -1). */
void mp_host_count_direct(struct mp_host *h, const struct mp_output *o, int by);
/*
 * SENDING: the outbox has its outputs from now on, and before them those that
 * left earlier for the same topics (and so on).
 */
void mp_invocation_park_outputs(struct mp_invocation *inv);
/* An output for this topic goes into the outbox: so must, before it, what
 * left for the topic and is not confirmed. */
void mp_host_keep_behind(struct mp_host *h, struct mp_slice topic);
/* Park what holds its input back when that has been long enough. */
void mp_host_hold(struct mp_host *h);
/* A window has it, on the shared lane: that is sooner. */
void mp_host_hold_window(struct mp_host *h, const struct mp_invocation *inv);

/* ---- host_doors.c: all transports, MQTT among them ---- */

/* The router is built: each is told what it is to bring. */
void mp_host_doors_route(struct mp_host *h);
void mp_host_doors_lost(struct mp_host *h);
void mp_host_doors_found(struct mp_host *h);
void mp_host_doors_pause(struct mp_host *h, bool paused);
void mp_host_doors_drain(struct mp_host *h);
bool mp_host_doors_idle(struct mp_host *h);
void mp_host_doors_close(struct mp_host *h, void (*finished)(void *arg),
                         void *arg);
/* The open one of that kind; NULL: it is not. */
struct mp_door *mp_host_door(struct mp_host *h, enum mp_trigger_kind kind);

/* ---- host_sending.c ---- */

/* arg: the host.  An output that is not confirmed goes into the outbox, behind
 * what left before for its topic; or leaves now. */
void mp_host_into_outbox(void *arg, struct mp_invocation *inv,
                         struct mp_output *o);
void mp_host_publish_now(void *arg, struct mp_invocation *inv,
                         struct mp_output *o);
/* Its outputs leave now, without the outbox. */
void mp_host_start_sending(struct mp_host *h, struct mp_invocation *inv);
void mp_host_count_reply(struct mp_invocation *inv, const struct mp_output *o);

/* ---- host_dead.c ---- */

/* A dead letter of what an invocation ran on; who is to be told is told, and
 * it ends when all that is safe. */
void mp_host_bury(struct mp_invocation *inv, enum mp_dead why,
                  const struct mp_outcome *out);
/* As mp_host_bury; written: something of it is, in the transaction that
 * gathers. */
void mp_host_bury_with(struct mp_invocation *inv, enum mp_dead why,
                       const struct mp_outcome *out, bool written);
void mp_host_refused(void *arg, struct mp_slice fn, const struct mp_output *o,
                     unsigned reason, const char *why);

/* ---- host_reply.c ---- */

/*
 * The answer to the message behind an invocation, to be sent by the caller, or
 * NULL: nobody asked or nothing was returned, the request has expired, or its
 * response topic gets none (which is said, once a minute).
 *
 * Of an outcome that is ok, as its nth output: */
struct mp_output *mp_host_reply(struct mp_host *h,
                                const struct mp_invocation *inv,
                                const struct mp_outcome *out, unsigned n);
/* Of one that is given up: */
struct mp_output *mp_host_reply_problem(struct mp_host *h,
                                        const struct mp_invocation *inv,
                                        enum mp_dead why,
                                        const struct mp_outcome *out);

/* ---- host_done.c ---- */

/* Must its end be written, whatever it did (timers with missed = once, all)? */
bool mp_invocation_is_told_to_clock(const struct mp_invocation *inv);
int mp_host_on_done(void *arg, struct mp_invocation *inv,
                    const struct mp_outcome *out);
/* ---- host_rows.c ---- */

void mp_host_on_found(void *arg, struct mp_slot *slot,
                      const struct mp_row *row);
unsigned mp_host_room(void *arg, struct mp_slot *slot);
bool mp_host_on_alarm(void *arg, struct mp_alarm *alarm);
/* Was its key made by other rules ([state] key, order) than its function has
 * now? */
bool mp_invocation_is_outdated(const struct mp_invocation *inv);
/* That one, which has no place in the scheduler but for its order key, gets
 * its key by the new rules, and a place; or it ends, when it can't. */
void mp_invocation_key_anew(struct mp_invocation *inv);
/* Functions have changed: so for all that wait, in their order. */
void mp_host_key_anew(struct mp_host *h);
/* mp_host_enqueue, with the number of sends behind it; room was checked. */
int64_t mp_host_send(struct mp_host *h, struct mp_slice fn,
                     const struct mp_event *event, const char *reason,
                     int64_t delay_us, uint32_t hops, struct mp_told *t,
                     uint64_t *ticket);

/* ---- host_requests.c ---- */

/* It was answered before, and that is given again: true. */
bool mp_host_repeats(struct mp_host *h, struct mp_input *in);
/* An asynchronous one that is to wait in a window has its row at once.  False:
 * it was refused, or goes behind others on disk. */
bool mp_request_accept(struct mp_host *h, struct mp_invocation *inv);
/* A new request: into the pool, or refused. */
void mp_host_queue_request(struct mp_host *h, struct mp_invocation *inv);
/* It has ended otherwise than by a run; it must be in no queue. */
void mp_request_dropped(struct mp_invocation *inv, enum mp_drop why);
void mp_request_refuse(struct mp_invocation *inv, enum mp_refused why);
/* What its outcome is to the client, said when it ends. */
void mp_request_answer(struct mp_invocation *inv, const struct mp_outcome *out);
/* ... and for who repeats it, with the gathering transaction.  True: it is
 * kept. */
bool mp_request_keep(struct mp_host *h, struct mp_invocation *inv, bool dirty,
                     bool publishes);
/* What keeping may add to the database. */
uint64_t mp_request_growth(const struct mp_invocation *inv,
                           const struct mp_outcome *out);
/* One that somebody waits for has failed: there is no other try. */
void mp_request_failed(struct mp_invocation *inv, const struct mp_outcome *out);
/* An effect: pushed to observers when it ends. */
void mp_request_notify(struct mp_invocation *inv, const struct mp_effect *e);
/* It ends, or (forget) is lost: say what is to be said. */
void mp_request_end(struct mp_invocation *inv);
void mp_request_forget(struct mp_invocation *inv);
/* A line of its trigger did not let it pass; it is in no queue. */
void mp_host_request_skipped(struct mp_invocation *inv, enum mp_stream_why why);
/* Once a loop turn, after work was handed out: stay awake for an outcome that
 * comes soon. */
void mp_host_requests_turn(struct mp_host *h);
void mp_host_requests_open(struct mp_host *h);
/* The database is loaded and the router built. */
void mp_host_requests_begin(struct mp_host *h);
/* It was read back from its row: somebody may ask for its result. */
void mp_host_request_found(struct mp_invocation *inv);
void mp_host_requests_close(struct mp_host *h);
/* Each second: none waits for a function in quarantine. */
void mp_host_requests_tick(struct mp_host *h);

/* ---- host_store.c ---- */

void mp_host_store_open(struct mp_host *h);
void mp_host_store_close(struct mp_host *h);

/* ---- host_life.c ---- */

/* What stands behind it brings it again: a row, an alarm, or the broker. */
bool mp_invocation_comes_again(const struct mp_invocation *inv);

/* Both the database is loaded and functions are live: begin. */
void mp_host_begin(struct mp_host *h);

#endif
