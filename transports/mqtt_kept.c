/*
 * mqtt_kept.c - what lanes keep in the database, and when that is there.
 *
 *   mqtt/LANE    the text of its session (core/session.h); LANE is "shared",
 *                or the name of a lane of its own (which holds a dash)
 *   mqtt/lanes   the names of all lanes of their own that have a session at
 *                the broker, a line each
 *
 * and the records of core/redelivery.h.  Keeping is asynchronous: who must not
 * go on before it is durable waits for that, and is not called at all when
 * the connection it was for is gone.
 *
 * An earlier release kept sessions in files, mqtt-session and
 * mqtt-session-LANE.  They are taken over, and removed when that is durable.
 */
#include "transports/mqtt_impl.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/log.h"

/* Filters are at most 65,535 bytes, and few; past this it is not ours. */
enum { SESSION_BYTES_MAX = 16 << 20, NAMES_BYTES_MAX = 1 << 20 };

static const char KEPT_LANES[] = "mqtt/lanes";
static const char FILE_PREFIX[] = "mqtt-session-";

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

static void file_may_go(struct mp_commit_wait *w, int rc)
{
    struct mqtt_lane *l = mp_of(w, struct mqtt_lane, taken_over);

    if (rc == 0)
        (void)unlinkat(l->conn.mq->dir_fd, l->file, 0);
}

static int take_over_file(struct mqtt_lane *l, struct mp_why *why)
{
    struct mqtt *mq = l->conn.mq;
    struct mp_buf text;
    int rc;

    mp_buf_init(&text, SESSION_BYTES_MAX);
    rc = mp_file_read(mq->dir_fd, l->file, SESSION_BYTES_MAX, &text, why);
    if (rc == 0) {
        rc = mp_session_parse(&l->session, mp_buf_bytes(&text));
        if (rc)
            mp_why_set(why, rc, "%s is not a session file", l->file);
        else
            mp_host_keep(mq->host, l->kept, mp_buf_bytes(&text), &l->taken_over,
                         file_may_go);
    }
    mp_buf_fini(&text);
    return rc == MP_ENONE ? 0 : rc;
}

static int load_session(struct mqtt_lane *l, struct mp_why *why)
{
    struct mp_slice text = mp_host_kept(l->conn.mq->host, l->kept);

    if (!text.ptr)
        return take_over_file(l, why);
    /* It was taken over, but the end came before it was removed. */
    (void)unlinkat(l->conn.mq->dir_fd, l->file, 0);
    if (mp_session_parse(&l->session, text))
        return mp_why_set(why, MP_EPARSE, "%s is not a session", l->kept);
    return 0;
}

void mp_mqtt_kept_load(struct mqtt_lane *l)
{
    struct mp_why why = {0};

    if (load_session(l, &why))
        mp_log(MP_WARN, "mqtt", NULL, "%s; begins a new one", why.text);
    l->doubted = l->session.doubt;
    mp_redelivery_load(&l->seen);
}

void mp_mqtt_kept_wait_not(struct mqtt_lane *l)
{
    mp_commit_wait_not(&l->connecting);
    mp_commit_wait_not(&l->subscribing);
    mp_commit_wait_not(&l->half);
    mp_commit_wait_not(&l->taken_over);
}

/* `unkept` stays: what the broker did is not undone by a database that goes
 * back. */
void mp_mqtt_kept_forget(struct mqtt_lane *l)
{
    mp_mqtt_kept_wait_not(l);
    mp_redelivery_clear(&l->seen);
    mp_session_fini(&l->session);
    l->at = l->top = 0;
    l->stale = l->doubted = false;
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
    (void)unlinkat(mq->dir_fd, l->file, 0);
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

static void each_file(struct mqtt *mq,
                      void (*each)(struct mqtt *mq, const char *name))
{
    int fd = dup(mq->dir_fd);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t prefix = sizeof FILE_PREFIX - 1;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    rewinddir(dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (strncmp(e->d_name, FILE_PREFIX, prefix) == 0)
            each(mq, e->d_name + prefix);
    closedir(dir);
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
    each_file(mq, each);
}
