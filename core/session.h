/*
 * session.h - what must be remembered of an MQTT session across restarts.
 *
 * The broker keeps the session: subscriptions and what we have not
 * acknowledged.  For each lane we keep, as a small text in the database,
 *
 *   epoch   a random number, new for each session, so that the packet ids of
 *           two sessions never mean the same message;
 *   half    how often packet ids have passed 0 or 32,768 (they wrap at
 *           65,535): its half tells two uses of one id apart;
 *   subs    the subscriptions the broker has.  One that is not *sure* was on
 *           its way when we last wrote: subscribe it, or unsubscribe it, again.
 *
 * That the broker says it kept a session doesn't mean that it is this one: it
 * may have begun a new one when we died, before we noted that.  Nothing came
 * in such a session, which has no subscription; and whoever resumes one
 * subscribes all again.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   the structure owns its subs and their texts.
 * Errors   parsing: MP_EPARSE, and an empty session (epoch 0).
 */
#ifndef MP_SESSION_H
#define MP_SESSION_H

#include "core/base/slice.h"

struct mp_sub {
    char *filter; /* as sent, $share/NAME/ included */
    uint8_t qos;
    bool retained; /* with the messages that are retained */
    bool sure;
    uint32_t id;   /* subscription identifier; 0: none */
    int packet_id; /* of the (UN)SUBSCRIBE that is on its way; 0: none */
    bool leaving;  /* ... and it is an UNSUBSCRIBE */
    bool refresh;  /* sure, and to be subscribed again all the same */
    bool fresh;    /* ... and all that is retained is wanted */
};

struct mp_session {
    uint64_t epoch;
    uint32_t half;
    struct mp_sub *subs;
    unsigned n_subs;
};

void mp_session_init(struct mp_session *s);
void mp_session_fini(struct mp_session *s);

/* From and to its text.  text need not end with a 0. */
MP_MUST int mp_session_parse(struct mp_session *s, struct mp_slice text);
void mp_session_put(const struct mp_session *s, struct mp_buf *text);

/* A new session: another epoch, nothing subscribed. */
void mp_session_renew(struct mp_session *s);

/*
 * The number of a message in the order in which the broker gave ids out: how
 * often they had wrapped (<< 16) and its packet id.  On one connection it is
 * told by the message before it (at, 0: none yet): ids go up, and what is
 * sent again comes in its old order.  The first one after a reconnect is told
 * by the highest that is known (top, 0: none), or else by `half`; it may be a
 * round of ids (1 << 16) away from that when the broker reads our
 * acknowledgements late.
 */
uint32_t mp_session_sequence(const struct mp_session *s, uint16_t packet_id,
                             bool dup, uint32_t at, uint32_t top);
/* It has that number.  True: half grew, keep it before anything taken after
 * it is acknowledged. */
bool mp_session_saw(struct mp_session *s, uint32_t sequence, uint32_t *at);

struct mp_sub *mp_session_sub(struct mp_session *s, const char *filter);
/* Add an empty one; takes a copy of filter. */
struct mp_sub *mp_session_add(struct mp_session *s, const char *filter);
void mp_session_remove(struct mp_session *s, struct mp_sub *sub);

#endif
