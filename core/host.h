/*
 * host.h - the story of an event, from a transport to its acknowledgement.
 *
 *   mp_host_input      route it: an invocation for each function
 *   (pool)             queue, start, outcome
 *   on_done            effects leave; failures wait, or end as dead letters
 *   on_output_done     the broker has it
 *   settle             nothing holds it any more: acknowledge
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_HOST_H
#define MP_HOST_H

#include "core/alarms.h"
#include "core/careful.h"
#include "core/catalog.h"
#include "core/dead.h"
#include "core/outbox.h"
#include "core/queue.h"
#include "core/records.h"
#include "core/replies.h"
#include "core/results.h"
#include "core/router.h"
#include "core/seen.h"

/* Who waits for the outcome of an event (moonpool send --wait). */
struct mp_told {
    struct mp_link link;
    /* Called once.  out NULL: it was dropped; why says so.  Else why is NULL,
     * or out is not the last word: it is run again, and why says when. */
    void (*told)(struct mp_told *t, const struct mp_outcome *out,
                 const char *why);
};

enum { MP_DIRECT_TOPICS = 4096 };

/*
 * A transport beside MQTT.  It is opened when a trigger asks for it, and
 * loaded then, if it is a module of its own.
 */
struct mp_door {
    const struct mp_transport *ops; /* NULL: not loaded (yet) */
    const char *module, *symbol;    /* as mp_module wants them */
    enum mp_trigger_kind kind;      /* HTTP, COAP; EVERY: and cron */
    void *self;                     /* NULL: not open */
    bool failed;                    /* to load or open: said once */
    bool said_clear, said_alone;    /* what [http], [coap] listen means */
    bool closed;
};

enum { MP_DOORS_MAX = 4 };

struct mp_host {
    uv_loop_t *loop;
    const struct mp_config *config;
    struct mp_pool pool;
    struct mp_catalog catalog;
    struct mp_router router;
    const struct mp_transport *mqtt;
    void *mqtt_self;
    struct mp_door doors[MP_DOORS_MAX]; /* given before mp_host_open */
    unsigned n_doors;
    unsigned n_closing; /* transports that are not closed yet */
    void (*on_closed)(void *arg);
    void *on_closed_arg;
    /* what is durable */
    struct mp_timeline timeline;
    struct mp_commit commit;
    struct mp_reader_thread reader;
    struct mp_states states;
    struct mp_alarms alarms;
    struct mp_queue queue;
    struct mp_outbox outbox;
    struct mp_dead_store dead;
    struct mp_records records;
    struct mp_seen seen;
    struct mp_replies replies;
    bool has_name_key; /* that of the results' names is the kept one */
    unsigned n_asked;  /* requests whose clients wait */
    int64_t asked_us;  /* when the last of them came or went */
    uv_idle_t awake;   /* active: the loop does not sleep */
    bool has_cores;    /* ... and may do so: another one runs the workers */
    struct mp_results results; /* of asynchronous requests; in memory */
    struct mp_careful careful;
    struct mp_hash_key secret;         /* for keys of stream lines */
    uv_timer_t windows;                /* when a window's time is up */
    int64_t windows_us;                /* ... INT64_MAX: none waits */
    uint32_t direct[MP_DIRECT_TOPICS]; /* outputs that left without the outbox
                                        * and aren't confirmed, by hash of
                                        * their topics */
    struct mp_link kept;               /* small things by name */
    bool loaded;                       /* mirrors are what the database has */
    struct mp_link all;                /* every invocation, by its link `all` */
    struct mp_link sending; /* those that are SENDING, by their link, in the
                             * order in which they became it */
    struct mp_link holding; /* invocations that hold a QoS 1 input back */
    uv_timer_t hold;        /* when the first of them has held long enough */
    uv_timer_t tick;        /* each second */
    uv_prepare_t turn;
    uint64_t unanswered;   /* requests, since that was last said */
    int64_t unanswered_us; /* when that was */
    unsigned open;         /* invocations that have not ended */
    bool routed;           /* the transport was told its routes */
    bool settled;          /* a scan has been settled: triggers are live */
    struct mp_why trouble; /* why no input is taken; "": it is */
    uv_timer_t reload;
    unsigned ticks;
    bool store_closed;
    bool store_full;      /* the database is nearly as large as it may be */
    uint64_t store_wants; /* growth that waits for room in it; 0: none */
    bool paused;          /* the transport was told to read no input */
    bool linked;          /* the broker is there */
    bool draining, closing;
    bool abandoned; /* an input is left to the broker: lanes stay unsettled */
    void (*on_settled)(void *arg, bool changed); /* a scan is settled */
    void (*on_link)(void *arg, bool up);
    void (*on_fatal)(void *arg); /* it can't work like this; it was said */
    void *arg;
};

/* Opens pool and transport and starts the first scan. */
MP_MUST int mp_host_open(struct mp_host *h, uv_loop_t *loop,
                         const struct mp_config *config,
                         const struct mp_transport *mqtt, struct mp_why *why);
/*
 * A new event for a function, taken over by the host: `reason` "send", or
 * "replay".  delay_us 0: at once.  okey: its order key.  Returns the row's
 * id; *ticket makes it durable.  t: NULL, or who waits for its outcome.
 * MP_EFULL: there is no room (mp_host_full).
 */
int64_t mp_host_enqueue(struct mp_host *h, struct mp_slice fn,
                        const struct mp_event *event, const char *reason,
                        int64_t delay_us, struct mp_told *t, uint64_t *ticket);
/* Drop a waiting event by its row, or all of a function (id 0, fn given);
 * how many.  One that is in a worker goes on. */
unsigned mp_host_drop_rows(struct mp_host *h, struct mp_slice fn, int64_t id,
                           uint64_t *ticket);
/* Why there was no room for that, as a sentence. */
const char *mp_host_full(const struct mp_host *h);
/* The slot of a function by its name; NULL: none. */
struct mp_slot *mp_host_slot(struct mp_host *h, struct mp_slice fn);
/* The timeline now. */
int64_t mp_host_now(const struct mp_host *h);
/* Why the host takes no input ("" when it does). */
const char *mp_host_trouble(const struct mp_host *h);
/*
 * No input from now on.  True: all that was taken over is done and sent, or
 * is sure to come again after the next start (what waits for its turn, a
 * sleep or an answer; what is in the outbox, without a broker).  Else ask
 * again soon.
 */
bool mp_host_drain(struct mp_host *h);
/* Ends workers and transport; finished when the loop may stop. */
void mp_host_close(struct mp_host *h, void (*finished)(void *arg), void *arg);

#endif
