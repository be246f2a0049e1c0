/*
 * mqtt_impl.h - the parts of the MQTT transport, for each other only.
 *
 *   mqtt.c       the transport: lanes, the turn of the loop, the end
 *   mqtt_conn.c  one connection: connect, be told why not, try again
 *   mqtt_io.c    fewer system calls for the library's reads and writes
 *   mqtt_lane.c  inputs: the gate applied to one connection
 *   mqtt_input.c one message from the library made an input
 *   mqtt_kept.c  what lanes keep in the database
 *   mqtt_subs.c  what a lane subscribes to
 *   mqtt_out.c   outputs: a queue, and a window of them in the library
 *
 * A rule for all of them: the library holds a mutex while it calls us back,
 * so inside a callback only its subscribe and publish calls are allowed.
 * Everything else waits until its call has returned (mp_mqtt_conn_after).
 *
 * Process, thread, memory, errors  as mqtt.h.
 */
#ifndef MP_MQTT_IMPL_H
#define MP_MQTT_IMPL_H

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "core/base/hash.h"
#include "core/gate.h"
#include "core/redelivery.h"
#include "core/session.h"
#include "transports/mqtt.h"

enum {
    /* Outputs handed to the library and not confirmed: it walks all of them
     * at each publish and at each confirmation. */
    MQTT_WINDOW = 128,
    /* Bytes of one batch, whatever receive_max and max_payload allow. */
    MQTT_BATCH_BYTES = 4 << 20,
    /* Topic and properties of the largest packet we ask for. */
    MQTT_PACKET_EXTRA = 128 << 10,
    /* A lane whose batch was this large is busy: it lets the socket fill for
     * a moment before it reads on.  One round through a worker costs the same
     * for ten readings and for thirty; who is not busy waits for nothing. */
    MQTT_BUSY = 8,
    MQTT_GATHER_US = 300,
    /* Acknowledgements that wait for proof before we ask for it early. */
    MQTT_PROOF_DUE = 2048,
    /* Readings of the clock are shared by this many messages of a batch. */
    MQTT_CLOCK_EVERY = 16,
};

/* Kept messages never run out with us: what an MQTT 3.1.1 session is, too. */
#define MQTT_SESSION_FOR_EVER UINT32_MAX
#define MQTT_TICK_MS 1000

struct mqtt;
struct mqtt_conn;

enum mqtt_state {
    MQTT_IDLE,
    MQTT_OPENING,  /* the pool resolves the name */
    MQTT_GREETING, /* until CONNACK */
    MQTT_UP,
    MQTT_WAITING, /* for the next try */
    MQTT_ENDING,  /* saying goodbye, or its handles are being closed */
    MQTT_ENDED,
};

struct mqtt_conn_ops {
    /* It is time for the next try. */
    void (*again)(struct mqtt_conn *c);
    /* CONNACK said yes.  Runs inside the library. */
    void (*up)(struct mqtt_conn *c, bool session);
    void (*down)(struct mqtt_conn *c);
    /* The socket is ready, while UP. */
    void (*ready)(struct mqtt_conn *c, int events);
    /* The library's log, while it is listened to and UP; may be NULL. */
    void (*heard)(struct mqtt_conn *c, const char *text);
    /* No handle of it is left. */
    void (*ended)(struct mqtt_conn *c);
};

struct mqtt_conn {
    struct mqtt *mq;
    const struct mqtt_conn_ops *ops;
    struct mosquitto *m;
    int fd;      /* while it has a poll */
    int wake[2]; /* see mqtt_io.c */
    char *client_id;
    bool keeps_session;
    enum mqtt_state state;
    int version;       /* MQTT_PROTOCOL_V5 or _V311 of this try */
    bool identifiers;  /* the broker takes subscription identifiers */
    bool ipv4_only;    /* of this try; see family_next */
    bool tried_family; /* the other family had its try */
    bool gone;         /* the library closed the socket */
    bool greeted;      /* CONNACK came, whatever it said */
    bool no_tls;       /* TLS was asked for and can't be had */
    int connack;       /* its reason */
    int lost_rc, lost_errno;
    unsigned brief;      /* connections in a row that the broker soon closed */
    char doomed[160];    /* why we want to drop it; "": we don't */
    char tls_error[120]; /* what OpenSSL said last */
    char said[200];      /* the reason that was logged */
    int64_t up_us, backoff_us;
    uv_poll_t *poll;
    int events;
    uv_timer_t timer; /* next try; end of patience */
    uv_work_t work;
    int work_rc, work_errno;
    bool working;
    bool held; /* not wanted for now */
};

/* One subscription to be had, and the routes it serves. */
struct mqtt_want {
    char *filter;
    uint8_t qos;
    bool retained, shared;
    uint32_t id;
    uint32_t routes[8];
    uint32_t n_routes;
};

struct mqtt_lane {
    struct mqtt_conn conn; /* first */
    struct mp_link link;
    uint32_t number;
    char *name;      /* of a lane of its own; NULL: the shared one */
    char *kept;      /* its session's name in the database, "mqtt/LANE" */
    const char *tag; /* the LANE of that; records have it */
    struct mp_gate gate;
    struct mp_redelivery seen;
    struct mp_session session;
    struct mp_hash_key key; /* of ids, from node and epoch */
    struct mqtt_want *wants;
    unsigned n_wants;
    unsigned unanswered; /* (UN)SUBSCRIBEs on their way */
    uint32_t at;    /* sequence of the message before, on this connection */
    uint32_t top;   /* the highest that is known */
    bool live;      /* inputs are taken */
    bool is_new;    /* this connection began the session */
    bool ready;     /* all subscriptions were answered once */
    bool again;     /* routes changed while some were not */
    bool dirty;     /* look at it before the loop sleeps */
    bool listening; /* the log callback is on */
    bool dup;       /* of the message that comes next */
    bool progress;  /* the library did something */
    unsigned clock_left; /* messages until the clock is read again */
    int64_t now_us, wall_us;
    bool unread; /* the gate stopped reading before the socket was dry */
    bool flushing;
    bool gathering; /* lets the socket fill before it reads again */
    bool retired;   /* no route is left: it says goodbye */
    bool orphan;    /* freed when the host has settled its last input */
    bool abandoned; /* an input was lost while draining: nothing is sent */
    unsigned in_host;
    /* what is kept: see mqtt_kept.c */
    bool changed; /* answers have changed what is sure */
    bool met;     /* it was up before, since the start */
    bool stale;   /* the session is not as it is kept */
    bool unkept;  /* the broker began a session, and that is not durable */
    struct mp_commit_wait subscribing, half;
    /* the proof: a packet whose answer shows that all before was seen */
    int proof_id; /* 0: none on its way */
    uint32_t proof_flush;
    bool proof_clean; /* nothing was sent again since it left */
    int64_t proof_us;
    int64_t too_large_us; /* when that was last logged */
    unsigned too_large;   /* since then */
};

struct mqtt_out {
    struct mqtt_conn conn; /* first */
    struct mp_link waiting, window;
    unsigned n_window;
    bool dirty;
};

struct mqtt {
    struct mp_host *host;
    uv_loop_t *loop;
    const struct mp_config *config;
    struct mp_link lanes;
    struct mqtt_lane *shared;
    struct mqtt_out *out;
    const struct mp_route *routes;
    unsigned n_routes;
    int version; /* that the broker speaks; 0: not known yet */
    char *client_id, *source, *status_topic, *proof_topic;
    uint64_t counter, counter_base; /* ids of QoS 0 inputs */
    char said[200];
    int64_t said_us;
    bool linked, draining, closing;
    bool away;   /* the database is lost: no inputs until it is found */
    bool paused; /* nothing is read */
    uv_prepare_t turn;
    uv_timer_t tick;
    uv_poll_t gather; /* a timerfd, while a lane is gathering */
    int gather_fd;
    uv_idle_t idle; /* keeps the loop from sleeping */
    unsigned handles;
    void (*finished)(void *arg);
    void *finished_arg;
};

/* ---- mqtt_conn.c ---- */
void mp_mqtt_conn_init(struct mqtt_conn *c, struct mqtt *mq,
                       const struct mqtt_conn_ops *ops, const char *suffix,
                       bool keeps_session);
void mp_mqtt_conn_start(struct mqtt_conn *c);
/* Drop it, without a byte more on the wire, and stay away until start. */
void mp_mqtt_conn_hold(struct mqtt_conn *c);
/* After every call into the library but subscribe and publish.  True: the
 * connection is down now. */
bool mp_mqtt_conn_after(struct mqtt_conn *c);
/* What to be told of, while UP: UV_READABLE, UV_WRITABLE; UV_DISCONNECT only
 * where nothing may be read, since it drops what was not read yet. */
void mp_mqtt_conn_watch(struct mqtt_conn *c, int events);
/* Write what is unsent, as far as the socket takes it. */
void mp_mqtt_conn_write(struct mqtt_conn *c);
bool mp_mqtt_conn_unsent(const struct mqtt_conn *c);
/* Is there more that was read ahead, which no poll tells of? */
bool mp_mqtt_conn_unread(const struct mqtt_conn *c);
/* After reading: the kernel shall not wait with its acknowledgement. */
void mp_mqtt_conn_confirm(struct mqtt_conn *c);
/* The once-a-second call. */
void mp_mqtt_conn_tick(struct mqtt_conn *c);
/* The library formats a line for each packet: costly, so only when needed.
 * It is on from each try until somebody turns it off. */
void mp_mqtt_conn_listen(struct mqtt_conn *c, bool on);
/* Drop it when the library has returned. */
MP_PRINTF(2, 3)
void mp_mqtt_conn_doom(struct mqtt_conn *c, const char *fmt, ...);
/* End: what is queued is written first, if clean; else the socket goes. */
void mp_mqtt_conn_end(struct mqtt_conn *c, bool clean);
void mp_mqtt_conn_fini(struct mqtt_conn *c);

/* mqtt_reason.c: why a connection is down, in a sentence. */
void mp_mqtt_reason(const struct mqtt_conn *c, char *text, size_t size);

/* ---- mqtt_io.c ---- */
/* mosquitto_new; wake: its socket pair, for mp_mqtt_io_forget at the end. */
struct mosquitto *mp_mqtt_io_new(const char *client_id, bool clean, void *obj,
                                 int wake[2]);
void mp_mqtt_io_forget(const int wake[2]);
/* From now on, until detach, reads are ahead and writes gathered. */
void mp_mqtt_io_attach(int fd);
void mp_mqtt_io_detach(int fd);
bool mp_mqtt_io_unread(int fd);
bool mp_mqtt_io_unsent(int fd);
void mp_mqtt_io_send(int fd);

/* ---- mqtt_lane.c ---- */
struct mqtt_lane *mp_mqtt_lane_new(struct mqtt *mq, const char *name,
                                   uint32_t number);
/* Connect, when what must be durable before is. */
void mp_mqtt_lane_connect(struct mqtt_lane *l);
/* The database is lost, with all that is kept there. */
void mp_mqtt_lane_lost(struct mqtt_lane *l);
/* Look at it before the loop sleeps, wherever we are. */
void mp_mqtt_lane_wake(struct mqtt_lane *l);
void mp_mqtt_lane_pump(struct mqtt_lane *l);
void mp_mqtt_lane_tick(struct mqtt_lane *l);
void mp_mqtt_lane_close(struct mqtt_lane *l);
bool mp_mqtt_lane_idle(const struct mqtt_lane *l);
void mp_mqtt_lane_settled(struct mp_input *in);
void mp_mqtt_lane_note(struct mp_input *in, uint64_t function);
/* Packet ids have passed a half: keep that before acknowledging more. */
void mp_mqtt_lane_keep_half(struct mqtt_lane *l);

/* ---- mqtt_kept.c ---- */
/* Session and records, as kept; the lane's are empty. */
void mp_mqtt_kept_load(struct mqtt_lane *l);
/* The client id of this host, of which all connections have theirs. */
char *mp_mqtt_kept_id(const struct mqtt *mq);
/* As before that, and nobody waits for anything. */
void mp_mqtt_kept_forget(struct mqtt_lane *l);
void mp_mqtt_kept_wait_not(struct mqtt_lane *l);
/* Keep the session with the transaction that gathers.  w: may be NULL, and
 * may be waiting for an earlier one. */
void mp_mqtt_kept_save(struct mqtt_lane *l, struct mp_commit_wait *w,
                       void (*done)(struct mp_commit_wait *w, int rc));
static inline bool mp_mqtt_kept_waits(const struct mp_commit_wait *w)
{
    return !mp_list_empty(&w->link);
}
/* The broker began a session: another epoch, no records. */
void mp_mqtt_kept_begin(struct mqtt_lane *l);
/* The lane's session is over for good. */
void mp_mqtt_kept_end(struct mqtt_lane *l);
/* Keep the names of the lanes there are, if they changed. */
void mp_mqtt_kept_names(struct mqtt *mq);
/* Each lane of its own that may have a session, by its name. */
void mp_mqtt_kept_each(struct mqtt *mq,
                       void (*each)(struct mqtt *mq, const char *name));

/* ---- mqtt_input.c ---- */
void mp_mqtt_input_take(struct mqtt_lane *l,
                        const struct mosquitto_message *msg,
                        const mosquitto_property *props);

/* ---- mqtt_subs.c ---- */
void mp_mqtt_subs_want(struct mqtt_lane *l);
void mp_mqtt_subs_forget(struct mqtt_lane *l);
/* Subscribe and unsubscribe the difference. */
void mp_mqtt_subs_send(struct mqtt_lane *l);
/* A SUBACK (reason granted) or UNSUBACK came. */
void mp_mqtt_subs_answer(struct mqtt_lane *l, int packet_id, int reason);
const struct mqtt_want *mp_mqtt_subs_by_id(const struct mqtt_lane *l,
                                           uint32_t id);

/* ---- mqtt_out.c ---- */
struct mqtt_out *mp_mqtt_out_new(struct mqtt *mq);
void mp_mqtt_out_publish(struct mqtt_out *o, struct mp_output *out);
void mp_mqtt_out_flush(struct mqtt_out *o);
bool mp_mqtt_out_idle(const struct mqtt_out *o);
/* done() for all that is left. */
void mp_mqtt_out_abandon(struct mqtt_out *o);

/* ---- mqtt.c ---- */
/* The next turn comes before the loop sleeps. */
void mp_mqtt_wake(struct mqtt *mq);
/* Leave the lane alone for a moment. */
void mp_mqtt_lane_gather(struct mqtt_lane *l);
/* One handle less; the last one ends the transport. */
void mp_mqtt_handle_closed(struct mqtt *mq);
void mp_mqtt_lane_gone(struct mqtt_lane *l);

/* What mosquitto_property_add_* returned.  The library goes on without the
 * property; an output without its id must not leave. */
static inline void mp_mqtt_added(int rc)
{
    if (rc == MOSQ_ERR_NOMEM)
        mp_oom(0);
}

#endif
