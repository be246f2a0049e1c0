/*
 * live.c - the status line.
 *
 *   12,400 events/s in   1,240 alerts/s out   p50 3.1 ms   p99 9.8 ms ...
 *
 * Latency is from an input's arrival in the host to the moment nothing holds
 * it any more: its function has run and the broker has confirmed the outputs.
 */
#include "core/live.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/log.h"

static struct {
    struct mp_host *host;
    uv_timer_t timer;
    bool open, tty, shown;
    int64_t then_us;
    uint64_t events, outputs;
    char line[200];
} live;

/* 12400 as "12,400". */
static void grouped(uint64_t n, char *text, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;

    for (int i = 0; i < len && at + 2 < size; i++) {
        if (i && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

static void duration(uint64_t ns, char *text, size_t size)
{
    if (ns < 1000000)
        snprintf(text, size, "%llu us", (unsigned long long)ns / 1000);
    else if (ns < 100000000)
        snprintf(text, size, "%.1f ms", (double)ns / 1e6);
    else
        snprintf(text, size, "%.0f ms", (double)ns / 1e6);
}

/* Our own proportional set size, bytes. */
static uint64_t own_pss(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    unsigned long long kb = 0;
    char line[256];

    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Pss: %llu kB", &kb) == 1)
            break;
    fclose(f);
    return kb * 1024;
}

static uint64_t memory(const struct mp_host *h)
{
    uint64_t bytes = own_pss();

    for (unsigned i = 0; i < MP_WORKERS_MAX; i++) {
        const struct mp_process *p = h->pool.by_bit[i];

        if (p && p->poll)
            bytes += mp_worker_memory(&p->worker);
    }
    return bytes;
}

static void erase(void)
{
    if (live.tty && live.shown)
        (void)!write(STDOUT_FILENO, "\r\033[K", 4);
}

static void redraw(void)
{
    if (live.tty && live.shown)
        (void)!write(STDOUT_FILENO, live.line, strlen(live.line));
}

static void on_timer(uv_timer_t *timer)
{
    struct mp_host *h = live.host;
    int64_t now_us = mp_now_us();
    double seconds = (double)(now_us - live.then_us) / 1e6;
    uint64_t image_bytes, bytes = memory(h);
    unsigned images = mp_pool_images(&h->pool, &image_bytes);
    char in[32], out[32], p50[32], p99[32];

    (void)timer;
    grouped(
        (uint64_t)((double)(mp_metrics.events - live.events) / seconds + 0.5),
        in, sizeof in);
    grouped(
        (uint64_t)((double)(mp_metrics.outputs - live.outputs) / seconds + 0.5),
        out, sizeof out);
    duration(mp_hist_quantile(&mp_metrics.done, 0.5), p50, sizeof p50);
    duration(mp_hist_quantile(&mp_metrics.done, 0.99), p99, sizeof p99);
    erase();
    snprintf(live.line, sizeof live.line,
             "%s events/s in   %s outputs/s out   p50 %s   p99 %s   %u images "
             "warm   %.1f MB%s",
             in, out, p50, p99, images, (double)bytes / 1048576,
             live.tty ? "" : "\n");
    live.shown = true;
    (void)!write(STDOUT_FILENO, live.line, strlen(live.line));
    live.then_us = now_us;
    live.events = mp_metrics.events;
    live.outputs = mp_metrics.outputs;
    mp_hist_reset(&mp_metrics.done);
}

void mp_live_open(struct mp_host *host)
{
    live.host = host;
    live.open = true;
    live.tty = isatty(STDOUT_FILENO);
    live.then_us = mp_now_us();
    live.events = mp_metrics.events;
    live.outputs = mp_metrics.outputs;
    mp_log_around(erase, redraw);
    uv_timer_init(host->loop, &live.timer);
    uv_timer_start(&live.timer, on_timer, 1000, 1000);
}

void mp_live_close(void)
{
    if (!live.open)
        return;
    if (live.tty && live.shown)
        (void)!write(STDOUT_FILENO, "\n", 1);
    live.shown = false;
    live.open = false;
    uv_close((uv_handle_t *)&live.timer, NULL);
}

/* ---- all of them ---- */

static void put_counter(struct mp_buf *b, const char *name, const char *f,
                        const char *label, const char *value, uint64_t n)
{
    if (!n)
        return; /* what never happened is no line */
    mp_buf_printf(b, "moonpool_%s{f=\"%s\"", name, f);
    if (label)
        mp_buf_printf(b, ",%s=\"%s\"", label, value);
    mp_buf_printf(b, "} %llu\n", (unsigned long long)n);
}

static void put_hist(struct mp_buf *b, const char *name, const char *f,
                     const char *kind, const struct mp_hist *h)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};

    if (!h->count)
        return;
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        mp_buf_printf(b, "moonpool_%s{f=\"%s\"%s,quantile=\"%g\"} %.9f\n", name,
                      f, kind, quantiles[i],
                      (double)mp_hist_quantile(h, quantiles[i]) / 1e9);
    mp_buf_printf(b, "moonpool_%s_sum{f=\"%s\"%s} %.9f\n", name, f, kind,
                  (double)h->sum / 1e9);
    mp_buf_printf(b, "moonpool_%s_count{f=\"%s\"%s} %llu\n", name, f, kind,
                  (unsigned long long)h->count);
}

static void put_triggers(struct mp_buf *b, const struct mp_slot *slot)
{
    for (unsigned i = 0; i < slot->metrics.n_triggers; i++) {
        const struct mp_trigger_metrics *t = &slot->metrics.triggers[i];
        char f[MP_NAME_MAX + MP_TRIGGER_MAX + 8];

        snprintf(f, sizeof f, "%s\",t=\"%s", slot->name, t->name);
        put_counter(b, "events_total", f, NULL, NULL, t->events);
        put_counter(b, "events_run_total", f, NULL, NULL, t->run);
        for (unsigned s = 0; s < MP_SKIPS; s++)
            put_counter(b, "events_skipped_total", f, "reason", mp_skip_name(s),
                        t->skipped[s]);
        for (unsigned d = 0; d < MP_DROPS; d++)
            put_counter(b, "events_dropped_total", f, "reason", mp_drop_name(d),
                        t->dropped[d]);
        put_counter(b, "last_event_timestamp_seconds", f, NULL, NULL,
                    (uint64_t)t->last_event_us / 1000000);
    }
}

/* What is kept on disk for it. */
static void put_durable(struct mp_buf *b, const struct mp_host *h,
                        const struct mp_slot *slot)
{
    const struct mp_queue_fn *q = slot->queue;
    uint64_t kept, counted;

    put_counter(b, "outputs_total", slot->name, "kind", "send",
                slot->metrics.sends);
    put_counter(b, "flash_written_bytes_total", slot->name, NULL, NULL,
                slot->metrics.flash);
    if (!h->loaded || !q || !slot->state)
        return;
    mp_dead_of(&h->dead, mp_slice_str(slot->name), &kept, &counted);
    put_counter(b, "dead_letters", slot->name, NULL, NULL, counted);
    put_counter(b, "state_bytes", slot->name, NULL, NULL, slot->state->bytes);
    put_counter(b, "state_quota_bytes", slot->name, NULL, NULL,
                slot->state->bytes ? slot->state->quota : 0);
    put_counter(b, "window_events", slot->name, NULL, NULL, slot->n_windowed);
    put_counter(b, "queue_kept_events", slot->name, NULL, NULL, q->rows);
    put_counter(b, "queue_kept_bytes", slot->name, NULL, NULL, q->bytes);
    if (q->oldest_us)
        put_counter(b, "queue_oldest_seconds", slot->name, NULL, NULL,
                    (uint64_t)((mp_host_now(h) - q->oldest_us) / MP_SECOND));
}

static void put_store(struct mp_buf *b, const struct mp_host *h)
{
    int64_t oldest_us = h->outbox.oldest_us;

    mp_buf_printf(
        b,
        "moonpool_outbox_messages %llu\n"
        "moonpool_outbox_bytes %llu\n"
        "moonpool_outbox_oldest_seconds %lld\n"
        "moonpool_flash_written_bytes_total{f=\"\"} %llu\n"
        "moonpool_store_bytes %llu\n"
        "moonpool_store_open %d\n"
        "moonpool_clock_trusted %d\n",
        (unsigned long long)h->outbox.messages,
        (unsigned long long)h->outbox.bytes,
        (long long)(oldest_us ? (mp_host_now(h) - oldest_us) / MP_SECOND : 0),
        (unsigned long long)mp_metrics.flash,
        (unsigned long long)h->commit.used, h->loaded, mp_metrics.clock_ok);
    for (unsigned i = 0; i < MP_OUTBOX_DROPS; i++) {
        uint64_t n = h->outbox.dropped[i] +
                     (i == MP_OUTBOX_EXPIRED ? mp_metrics.outputs_expired : 0);

        if (n)
            mp_buf_printf(b,
                          "moonpool_outbox_dropped_total{reason=\"%s\"} %llu\n",
                          mp_outbox_drop_name(i), (unsigned long long)n);
    }
    put_hist(b, "commit_seconds", "", "", &mp_metrics.commit);
}

static void put_function(struct mp_buf *b, const struct mp_slot *slot)
{
    const struct mp_fn_metrics *m = &slot->metrics;
    char f[MP_NAME_MAX + 80];

    put_triggers(b, slot);
    snprintf(f, sizeof f, "%s\",v=\"%.32s", slot->name,
             slot->live ? slot->live->fn->version : "");
    for (unsigned i = 0; i < MP_OUT_KINDS; i++)
        put_counter(b, "invocations_total", f, "outcome", mp_kind_name(i),
                    m->invocations[i]);
    for (unsigned i = 0; i < MP_REFUSEDS; i++)
        put_counter(b, "refused_total", slot->name, "reason",
                    mp_refused_name((enum mp_refused)i), m->refused[i]);
    for (unsigned i = 0; i < MP_PARKEDS; i++)
        put_counter(b, "parked_total", slot->name, "reason", mp_parked_name(i),
                    m->parked[i]);
    for (unsigned i = 0; i < MP_DEADS; i++)
        put_counter(b, "dead_letters_total", slot->name, "reason",
                    mp_dead_name(i), m->dead[i]);
    put_counter(b, "retries_total", slot->name, NULL, NULL, m->retries);
    put_counter(b, "outputs_total", slot->name, "kind", "publish", m->outputs);
    put_counter(b, "outputs_total", slot->name, "kind", "reply", m->replies);
    put_counter(b, "outputs_total", slot->name, "kind", "notify", m->notices);
    put_counter(b, "output_bytes_total", slot->name, NULL, NULL,
                m->output_bytes);
    put_counter(b, "last_ok_timestamp_seconds", slot->name, NULL, NULL,
                (uint64_t)m->last_ok_us / 1000000);
    put_counter(b, "breaker_open", slot->name, NULL, NULL,
                slot->breaker.state != MP_BREAKER_CLOSED);
    put_counter(b, "queue_events", slot->name, NULL, NULL, slot->n_waiting);
    put_counter(b, "queue_bytes", slot->name, NULL, NULL, slot->waiting_bytes);
    put_counter(b, "instances", slot->name, "state", "running",
                slot->n_running);
    put_hist(b, "queue_wait_seconds", slot->name, "", &m->queue_wait);
    put_hist(b, "start_seconds", slot->name, ",kind=\"warm\"", &m->start_warm);
    put_hist(b, "start_seconds", slot->name, ",kind=\"cold\"", &m->start_cold);
    put_hist(b, "run_seconds", slot->name, "", &m->run);
}

/* What was answered, by code. */
static void put_answers(struct mp_buf *b, const struct mp_host *h)
{
    for (unsigned i = 0; i < h->n_doors; i++) {
        const struct mp_transport *t = h->doors[i].ops;
        char code[24];

        for (unsigned n = 0; t && n < t->n_answers; n++) {
            if (!t->answers[n])
                continue;
            if (h->doors[i].kind == MP_TRIGGER_COAP)
                snprintf(code, sizeof code, "%u.%02u", n >> 5, n & 31);
            else
                snprintf(code, sizeof code, "%u", n);
            mp_buf_printf(b, "moonpool_%s_requests_total{code=\"%s\"} %llu\n",
                          t->name, code, (unsigned long long)t->answers[n]);
        }
    }
}

void mp_live_metrics(const struct mp_host *h, struct mp_buf *b)
{
    uint64_t bytes;
    unsigned images = mp_pool_images(&h->pool, &bytes);

    mp_list_each (at, &h->catalog.slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        put_function(b, slot);
        put_durable(b, h, slot);
    }
    put_store(b, h);
    put_answers(b, h);
    for (unsigned i = 0; i < MP_EXITS; i++)
        if (mp_metrics.worker_exits[i])
            mp_buf_printf(b,
                          "moonpool_worker_exits_total{reason=\"%s\"} %llu\n",
                          mp_exit_name(i),
                          (unsigned long long)mp_metrics.worker_exits[i]);
    mp_buf_printf(b,
                  "moonpool_workers %u\n"
                  "moonpool_images{state=\"warm\"} %u\n"
                  "moonpool_memory_bytes{use=\"images\"} %llu\n"
                  "moonpool_mqtt_connected %d\n"
                  "moonpool_mqtt_held_seconds_total %.6f\n"
                  "moonpool_start_time_seconds %lld\n"
                  "moonpool_build_info{version=\"%s\"} 1\n",
                  mp_pool_processes(&h->pool), images,
                  (unsigned long long)bytes, mp_metrics.mqtt_connected,
                  (double)mp_metrics.mqtt_held_us / 1e6,
                  (long long)(mp_metrics.start_us / 1000000), MP_VERSION);
}
