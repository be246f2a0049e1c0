/*
 * mqtt_kept.c - what lanes keep in the database, and when that is there.
 *
 *   mqtt/LANE    the text of its session (core/session.h); LANE is "shared",
 *                or the name of a lane of its own (which holds a dash)
 *   mqtt/lanes   the names of all lanes of their own that have a session at
 *                the broker, a line each
 *   mqtt/id      what was added to the client id, where nothing else tells
 *                this data directory's host from another
 *
 * and the records of core/redelivery.h.  Keeping is asynchronous: who must not
 * go on before it is durable waits for that, and is not called at all when
 * the connection it was for is gone.
 */
#include "transports/mqtt_impl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"

/* Filters are at most 65,535 bytes, and few; past this it is not ours. */
enum { SESSION_BYTES_MAX = 16 << 20, NAMES_BYTES_MAX = 1 << 20 };

static const char KEPT_LANES[] = "mqtt/lanes", KEPT_ID[] = "mqtt/id";

void mp_mqtt_kept_save(struct mqtt_lane *l, struct mp_commit_wait *w,
                       void (*done)(struct mp_commit_wait *w, int rc))
{
    struct mp_buf text;

    if (w)
        mp_commit_wait_not(w);
    mp_buf_init(&text, SESSION_BYTES_MAX);
    mp_session_put(&l->session, &text);
    if (text.full)
        mp_mqtt_conn_doom(&l->conn, "too many subscriptions to be kept");
    else
        mp_host_keep(l->conn.mq->host, l->kept, mp_buf_bytes(&text), w, done);
    l->stale = false;
    mp_buf_fini(&text);
}

/* ---- loading ---- */

void mp_mqtt_kept_load(struct mqtt_lane *l)
{
    struct mp_slice text = mp_host_kept(l->conn.mq->host, l->kept);

    if (text.ptr && mp_session_parse(&l->session, text))
        mp_log(MP_WARN, "mqtt", NULL, "%s is not a session; begins a new one",
               l->kept);
    mp_redelivery_load(&l->seen);
}

void mp_mqtt_kept_wait_not(struct mqtt_lane *l)
{
    mp_commit_wait_not(&l->subscribing);
    mp_commit_wait_not(&l->half);
}

/* `unkept` stays: what the broker did is not undone by a database that goes
 * back. */
void mp_mqtt_kept_forget(struct mqtt_lane *l)
{
    mp_mqtt_kept_wait_not(l);
    mp_redelivery_clear(&l->seen);
    mp_session_fini(&l->session);
    l->at = l->top = 0;
    l->stale = false;
}

void mp_mqtt_kept_begin(struct mqtt_lane *l)
{
    mp_session_renew(&l->session);
    mp_redelivery_clear(&l->seen);
    mp_records_clear(mp_host_records(l->conn.mq->host), l->tag);
    l->at = l->top = 0;
    l->stale = l->unkept = true;
}

void mp_mqtt_kept_end(struct mqtt_lane *l)
{
    struct mqtt *mq = l->conn.mq;

    mp_mqtt_kept_forget(l);
    mp_records_clear(mp_host_records(mq->host), l->tag);
    mp_host_keep(mq->host, l->kept, mp_slice(NULL, 0), NULL, NULL);
}

/* ---- the client id ---- */

enum { DIGITS = 4 };

/*
 * By the directory's path: where a damaged database was set aside, the new
 * one's host still finds its session.
 */
static void choose_digits(const char *data, char digits[DIGITS + 1])
{
    static const struct mp_hash_key plain = {UINT64_C(0x636c69656e742d69),
                                             UINT64_C(0x642d6469676974)};
    char real[PATH_MAX];

    if (!realpath(data, real))
        snprintf(real, sizeof real, "%s", data);
    snprintf(digits, DIGITS + 1, "%04x",
             (unsigned)(mp_hash64(&plain, mp_slice_str(real)) & 0xffff));
}

char *mp_mqtt_kept_id(const struct mqtt *mq)
{
    const char *plain = mq->config->mqtt.client_id;
    char digits[DIGITS + 1] = "";
    struct mp_slice kept;
    struct mp_buf id;
    char *text;

    if (!mq->config->mqtt.id_is_shared)
        return mp_strndup(plain, strlen(plain));
    kept = mp_host_kept(mq->host, KEPT_ID);
    if (kept.ptr) {
        snprintf(digits, sizeof digits, "%.*s", MP_FMT(kept));
    } else {
        choose_digits(mq->config->data, digits);
        mp_host_keep(mq->host, KEPT_ID, mp_slice_str(digits), NULL, NULL);
    }
    mp_buf_init(&id, UINT16_MAX);
    mp_buf_printf(&id, "%s-%s", plain, digits);
    text = mp_strndup(id.ptr, id.len);
    mp_buf_fini(&id);
    return text;
}

/* ---- the names of lanes ---- */

void mp_mqtt_kept_names(struct mqtt *mq)
{
    struct mp_slice old = mp_host_kept(mq->host, KEPT_LANES);
    struct mp_buf names;

    mp_buf_init(&names, NAMES_BYTES_MAX);
    mp_list_each (at, &mq->lanes) {
        const struct mqtt_lane *l = mp_of(at, struct mqtt_lane, link);

        if (l->name && l->conn.state < MQTT_ENDING)
            mp_buf_printf(&names, "%s\n", l->name);
    }
    if (!mp_slice_eq(old, mp_buf_bytes(&names)))
        mp_host_keep(mq->host, KEPT_LANES,
                     names.len ? mp_buf_bytes(&names) : mp_slice(NULL, 0), NULL,
                     NULL);
    mp_buf_fini(&names);
}

void mp_mqtt_kept_each(struct mqtt *mq,
                       void (*each)(struct mqtt *mq, const char *name))
{
    struct mp_slice kept = mp_host_kept(mq->host, KEPT_LANES);
    char *names = mp_strndup(kept.ptr ? kept.ptr : "", kept.len);
    char *rest = NULL;

    for (char *name = strtok_r(names, "\n", &rest); name;
         name = strtok_r(NULL, "\n", &rest))
        each(mq, name);
    free(names);
}
