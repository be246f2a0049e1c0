/*
 * load.c - two connections in one poll loop, no threads: what was sent,
 * confirmed and received is known at every instant.
 *
 * A broken connection of the sensors is thrown away with all that the library
 * queued; the list of what was sent is the truth.  The reader's session is
 * kept by the broker, so that nothing is missed while it is away.
 */
#include "tests/crash/load.h"

#include <mqtt_protocol.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/why.h"
#include "tests/crash/rig.h"

enum { WINDOW = 100 };
#define RETRY_US (50 * MP_MS)
/* The broker saves each second; a busy machine may be late. */
#define RESEND_US (6 * MP_SECOND)
#define CONNECT_US (20 * MP_SECOND)

static const char *const topics[LOAD_KINDS] = {"out", "sent", "rang", "echo"};

static void wrong(struct load *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void wrong(struct load *l, const char *fmt, ...)
{
    va_list args;

    if (l->wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(l->wrong, sizeof l->wrong, fmt, args);
    va_end(args);
}

/* ---- the account of outputs ---- */

struct load_line *load_line(const struct load *l, enum load_kind kind,
                            unsigned device)
{
    return &l->lines[kind * l->devices + device];
}

uint32_t load_expected(const struct load *l, enum load_kind kind)
{
    return kind == LOAD_RANG ? l->want / LOAD_RING_EVERY : l->want;
}

/* FNV-1a; never 0. */
static uint64_t mix(uint64_t h, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        h = (h ^ at[i]) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

#define MIX_START UINT64_C(0xcbf29ce484222325)

/* Was that id new?  Open addressing, at most half full. */
static bool id_is_new(struct load *l, uint64_t id)
{
    uint64_t at;

    if (l->n_ids * 2 >= l->cap_ids) {
        uint64_t *old = l->ids_seen, n = l->cap_ids;

        l->cap_ids = n ? n * 2 : 4096;
        l->ids_seen = mp_zalloc(l->cap_ids * sizeof *l->ids_seen);
        l->n_ids = 0;
        for (uint64_t i = 0; i < n; i++)
            if (old[i])
                id_is_new(l, old[i]);
        free(old);
    }
    for (at = id % l->cap_ids; l->ids_seen[at]; at = (at + 1) % l->cap_ids)
        if (l->ids_seen[at] == id)
            return false;
    l->ids_seen[at] = id;
    l->n_ids++;
    return true;
}

static void line_grow(struct load_line *line, uint32_t n)
{
    uint32_t cap = line->cap;

    if (n < cap)
        return;
    line->cap = n + 1 > cap * 2 ? n + 64 : cap * 2;
    line->copies = mp_realloc(line->copies, line->cap * sizeof *line->copies);
    line->rang = mp_realloc(line->rang, line->cap * sizeof *line->rang);
    memset(line->copies + cap, 0, (line->cap - cap) * sizeof *line->copies);
    memset(line->rang + cap, 0, (line->cap - cap) * sizeof *line->rang);
}

/* Is event k what the nth output of that kind answers? */
static bool answers(struct load *l, enum load_kind kind, struct load_line *line,
                    uint32_t n, uint32_t k)
{
    if (k < 1 || k > l->want)
        return false;
    if (kind != LOAD_RANG)
        return l->skips ? k >= n : k == n;
    if (k % LOAD_RING_EVERY != 0 || line->rang[k / LOAD_RING_EVERY])
        return false;
    line->rang[k / LOAD_RING_EVERY] = true;
    return true;
}

static void first_copy(struct load *l, enum load_kind kind, unsigned device,
                       uint32_t n, uint32_t k, const char *id)
{
    struct load_line *line = load_line(l, kind, device);

    if (!id_is_new(l, mix(MIX_START, id, strlen(id))))
        wrong(l, "%s/d%u: output %u has id %s, which another one has",
              topics[kind], device, n, id);
    if (!answers(l, kind, line, n, k))
        wrong(l, "%s/d%u: output %u is for event %u", topics[kind], device, n,
              k);
    if (n < line->last)
        l->late++;
    if (n != line->last + 1 && !l->gaps && !l->skips)
        wrong(l, "%s/d%u: output %u came after %u", topics[kind], device, n,
              line->last);
    line->last = n > line->last ? n : line->last;
    line->came++;
}

static void output(struct load *l, enum load_kind kind, unsigned device,
                   uint32_t n, uint32_t k, const char *id, uint64_t hash)
{
    struct load_line *line = load_line(l, kind, device);

    l->outputs++;
    if (n < 1 || n > load_expected(l, kind)) {
        wrong(l, "%s/d%u: output %u of %u", topics[kind], device, n,
              load_expected(l, kind));
        return;
    }
    line_grow(line, n > l->want ? n : l->want);
    if (!line->copies[n]) {
        line->copies[n] = hash;
        first_copy(l, kind, device, n, k, id);
    } else {
        l->repeats++;
        if (line->copies[n] != hash)
            wrong(l, "%s/d%u: a repeat of output %u differs, its id is %s",
                  topics[kind], device, n, id);
    }
}

static void on_message(struct mosquitto *m MP_UNUSED, void *obj,
                       const struct mosquitto_message *msg,
                       const mosquitto_property *props)
{
    struct load *l = obj;
    char kind[8], text[64], *id = NULL, *name = NULL;
    unsigned device, n, k, at = 0;
    uint64_t hash = MIX_START;

    snprintf(text, sizeof text, "%.*s", msg->payloadlen,
             msg->payload ? (const char *)msg->payload : "");
    mosquitto_property_read_string_pair(props, MQTT_PROP_USER_PROPERTY, &name,
                                        &id, false);
    if (sscanf(msg->topic, "%7[a-z]/d%u", kind, &device) != 2 ||
        sscanf(text, "%u %u", &n, &k) != 2 || device >= l->devices || !id ||
        strcmp(name, "id") != 0) {
        wrong(l, "strange: '%s' on %s, id %s", text, msg->topic,
              id ? id : "none");
        goto out;
    }
    while (at < LOAD_KINDS && strcmp(topics[at], kind) != 0)
        at++;
    hash = mix(hash, id, strlen(id));
    hash = mix(hash, text, strlen(text));
    if (at < LOAD_KINDS)
        output(l, at, device, n, k, id, hash);
out:
    free(name);
    free(id);
}

/* ---- connections ---- */

static void on_sub_connect(struct mosquitto *m, void *obj MP_UNUSED,
                           int rc MP_UNUSED)
{
    char filter[16];

    for (unsigned kind = 0; kind < LOAD_KINDS; kind++) {
        snprintf(filter, sizeof filter, "%s/+", topics[kind]);
        mosquitto_subscribe(m, NULL, filter, 1);
    }
}

static void on_subscribe(struct mosquitto *m MP_UNUSED, void *obj,
                         int mid MP_UNUSED, int n MP_UNUSED,
                         const int *granted MP_UNUSED)
{
    struct load *l = obj;

    l->subscribed++;
}

static void on_publish(struct mosquitto *m MP_UNUSED, void *obj, int mid)
{
    struct load *l = obj;
    uint32_t at = l->by_mid[mid];

    if (!at)
        return;
    l->by_mid[mid] = 0;
    l->open--;
    if (!l->sent[at - 1].confirmed) {
        l->sent[at - 1].confirmed = true;
        l->confirmed++;
    }
}

static struct mosquitto *connection(struct load *l, const char *name,
                                    bool clean)
{
    struct mosquitto *m = mosquitto_new(name, clean, l);

    if (!m)
        rig_die("mosquitto_new");
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, 1000);
    mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, WINDOW);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_threaded_set(m, true);
    return m;
}

/* MQTT 5: the session must have an expiry to be kept. */
static int connect_kept(struct mosquitto *m, int port)
{
    mosquitto_property *props = NULL;
    int rc;

    mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                 3600);
    rc = mosquitto_connect_bind_v5(m, "127.0.0.1", port, 60, NULL, props);
    mosquitto_property_free_all(&props);
    return rc;
}

static void open_pub(struct load *l)
{
    if (l->pub)
        mosquitto_destroy(l->pub);
    l->pub = connection(l, "crash-sensors", true);
    mosquitto_publish_callback_set(l->pub, on_publish);
    memset(l->by_mid, 0, sizeof l->by_mid);
    l->open = 0;
    l->pub_up = mosquitto_connect(l->pub, "127.0.0.1", l->port, 60) == 0;
}

static void open_sub(struct load *l)
{
    if (!l->sub) {
        l->sub = connection(l, "crash-reader", false);
        mosquitto_connect_callback_set(l->sub, on_sub_connect);
        mosquitto_subscribe_callback_set(l->sub, on_subscribe);
        mosquitto_message_v5_callback_set(l->sub, on_message);
    }
    l->sub_up = connect_kept(l->sub, l->port) == 0;
}

/* What may be lost is sent again, in order, before anything new. */
static void rewind_sent(struct load *l)
{
    int64_t from = mp_now_us() - RESEND_US;

    l->next = l->n_sent;
    while (l->next > 0 && (!l->sent[l->next - 1].confirmed ||
                           (l->ids && l->sent[l->next - 1].sent_us >= from)))
        l->next--;
    /* one that is confirmed may stand between two that are not */
    for (uint32_t i = 0; i < l->next; i++)
        if (!l->sent[i].confirmed) {
            l->next = i;
            break;
        }
    for (uint32_t i = l->next; i < l->n_sent; i++) {
        l->confirmed -= l->sent[i].confirmed;
        l->sent[i].confirmed = false;
    }
}

static void lost(struct load *l, bool pub)
{
    if (pub) {
        l->pub_up = false;
        rewind_sent(l);
    } else {
        l->sub_up = false;
    }
    l->retry_us = mp_now_us() + RETRY_US;
}

static void service(struct load *l, bool pub, short events)
{
    struct mosquitto *m = pub ? l->pub : l->sub;
    int rc = 0;

    for (int i = 0; !rc && i < 50 && (events & (POLLIN | POLLERR | POLLHUP));
         i++) {
        struct pollfd p = {.fd = mosquitto_socket(m), .events = POLLIN};

        rc = mosquitto_loop_read(m, 1);
        events = !rc && poll(&p, 1, 0) > 0 ? p.revents : 0;
    }
    if (!rc && mosquitto_want_write(m))
        rc = mosquitto_loop_write(m, 1);
    if (!rc)
        rc = mosquitto_loop_misc(m);
    if (rc)
        lost(l, pub);
}

/* ---- sending ---- */

static bool put(struct load *l, uint32_t at)
{
    struct load_sent *s = &l->sent[at];
    mosquitto_property *props = NULL;
    char topic[32], text[16], id[32];
    int mid, rc;

    snprintf(topic, sizeof topic, "in/d%u", s->device);
    snprintf(text, sizeof text, "%u", s->k);
    snprintf(id, sizeof id, "d%u-%u", s->device, s->k);
    if (l->ids)
        mosquitto_property_add_string_pair(&props, MQTT_PROP_USER_PROPERTY,
                                           "id", id);
    rc = mosquitto_publish_v5(l->pub, &mid, topic, (int)strlen(text), text, 1,
                              false, props);
    mosquitto_property_free_all(&props);
    if (rc)
        return false;
    s->sent_us = mp_now_us();
    l->by_mid[mid] = at + 1;
    l->open++;
    return true;
}

static void append(struct load *l)
{
    if (l->n_sent == l->cap_sent) {
        l->cap_sent = l->cap_sent ? l->cap_sent * 2 : 4096;
        l->sent = mp_realloc(l->sent, l->cap_sent * sizeof *l->sent);
    }
    l->sent[l->n_sent] = (struct load_sent){.device = l->n_sent % l->devices,
                                            .k = l->n_sent / l->devices + 1};
    l->n_sent++;
}

/* How many may leave now. */
static uint32_t due(struct load *l)
{
    uint32_t room = l->open < WINDOW ? WINDOW - l->open : 0;
    int64_t now = mp_now_us();
    double n;

    if (l->rate <= 0)
        return room;
    n = (double)(now - l->sent_us) * l->rate / MP_SECOND;
    if (n < 1)
        return 0;
    l->sent_us = now;
    return n < room ? (uint32_t)n : room;
}

static void send_due(struct load *l)
{
    uint32_t n;

    if (!l->pub_up ||
        (l->next == l->n_sent && l->n_sent == l->want * l->devices))
        return;
    for (n = due(l); n > 0; n--) {
        if (l->next == l->n_sent) {
            if (l->n_sent == l->want * l->devices)
                break;
            append(l);
        }
        if (!put(l, l->next))
            break;
        l->next++;
    }
    if (mosquitto_want_write(l->pub) && mosquitto_loop_write(l->pub, 1))
        lost(l, true);
}

static void turn(struct load *l, int ms)
{
    struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};

    if ((!l->pub_up || !l->sub_up) && mp_now_us() >= l->retry_us) {
        if (!l->pub_up)
            open_pub(l);
        if (!l->sub_up)
            open_sub(l);
        l->retry_us = mp_now_us() + RETRY_US;
    }
    send_due(l);
    for (int i = 0; i < 2; i++) {
        struct mosquitto *m = i ? l->sub : l->pub;

        if (!(i ? l->sub_up : l->pub_up))
            continue;
        fds[i].fd = mosquitto_socket(m);
        fds[i].events =
            (short)(POLLIN | (mosquitto_want_write(m) ? POLLOUT : 0));
    }
    poll(fds, 2, ms);
    for (int i = 0; i < 2; i++)
        if (fds[i].fd >= 0)
            service(l, i == 0, fds[i].revents);
}

void load_turn(struct load *l, int ms)
{
    int64_t until = mp_now_us() + ms * MP_MS;

    do
        turn(l, ms < 2 ? ms : 2);
    while (mp_now_us() < until);
}

/* ---- how far it is ---- */

bool load_is_sent(const struct load *l)
{
    return l->confirmed == l->want * l->devices;
}

bool load_is_complete(const struct load *l)
{
    for (unsigned kind = 0; kind < LOAD_KINDS; kind++)
        for (unsigned d = 0; d < l->devices; d++)
            if (load_line(l, kind, d)->came != load_expected(l, kind))
                return false;
    return load_is_sent(l);
}

void load_tell(const struct load *l, char *text, size_t size)
{
    size_t len;

    len = (size_t)snprintf(text, size, "%u of %u events confirmed",
                           l->confirmed, l->want * l->devices);
    for (unsigned kind = 0; kind < LOAD_KINDS && len < size; kind++) {
        uint32_t came = 0;

        for (unsigned d = 0; d < l->devices; d++)
            came += load_line(l, kind, d)->came;
        len +=
            (size_t)snprintf(text + len, size - len, ", %u of %u %s", came,
                             load_expected(l, kind) * l->devices, topics[kind]);
    }
}

void load_add(struct load *l, uint32_t events)
{
    l->want += events;
    if (l->next == l->n_sent) /* nothing was due until now */
        l->sent_us = mp_now_us();
}

void load_open(struct load *l, int port, unsigned devices, bool ids)
{
    int64_t until = mp_now_us() + CONNECT_US;

    mosquitto_lib_init();
    memset(l, 0, sizeof *l);
    l->port = port;
    l->devices = devices;
    l->ids = l->gaps = ids;
    l->lines = mp_zalloc(LOAD_KINDS * devices * sizeof *l->lines);
    while (l->subscribed < LOAD_KINDS || !l->pub_up) {
        load_turn(l, 5);
        if (mp_now_us() > until)
            rig_die("no connection to the broker on port %d", port);
    }
}

void load_close(struct load *l)
{
    mosquitto_destroy(l->pub);
    mosquitto_destroy(l->sub);
    for (unsigned i = 0; i < LOAD_KINDS * l->devices; i++) {
        free(l->lines[i].copies);
        free(l->lines[i].rang);
    }
    free(l->lines);
    free(l->sent);
    free(l->ids_seen);
    mosquitto_lib_cleanup();
}
