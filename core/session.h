/*
 * session.h - what must be remembered of an MQTT session across restarts.
 *
 * The broker keeps the session: subscriptions and what we have not
 * acknowledged.  For each lane we keep, in a small text file beside the
 * database,
 *
 *   epoch   a random number, new for each session, so that the packet ids of
 *           two sessions never mean the same message;
 *   half    how often packet ids have passed 0 or 32,768 (they wrap at
 *           65,535): its half tells two uses of one id apart;
 *   subs    the subscriptions the broker has.  One that is not *sure* was on
 *           its way when we last wrote: subscribe it, or unsubscribe it, again.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   the structure owns its subs and their texts.
 * Errors   reading: MP_EPARSE when it is not such a file; a missing one is
 *          an empty session (epoch 0).  Writing: MP_EIO.
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
};

struct mp_session {
    uint64_t epoch;
    uint32_t half;
    struct mp_sub *subs;
    unsigned n_subs;
};

void mp_session_init(struct mp_session *s);
void mp_session_fini(struct mp_session *s);

MP_MUST int mp_session_read(struct mp_session *s, int dir_fd, const char *name,
                            struct mp_why *why);
MP_MUST int mp_session_write(const struct mp_session *s, int dir_fd,
                             const char *name, struct mp_why *why);

/* A new session: another epoch, nothing subscribed. */
void mp_session_renew(struct mp_session *s);

/*
 * How often packet ids had wrapped when this one was given out.  A message
 * sent again may be from before the last wrap.  *changed: half grew, write it
 * before anything taken after it is acknowledged.  last is the highest packet
 * id of this run of the program so far; 0: none.
 */
uint32_t mp_session_wraps(struct mp_session *s, uint16_t packet_id, bool dup,
                          uint16_t *last, bool *changed);

struct mp_sub *mp_session_sub(struct mp_session *s, const char *filter);
/* Add an empty one; takes a copy of filter. */
struct mp_sub *mp_session_add(struct mp_session *s, const char *filter);
void mp_session_remove(struct mp_session *s, struct mp_sub *sub);

#endif
