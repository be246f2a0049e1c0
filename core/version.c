/*
 * version.c - versions of functions, and which worker has their image.
 *
 * A worker gets a LOAD right before the first RUN that needs it, in the same
 * write; frames are handled in order, so the run finds its image.  When the
 * last reference to a version goes, the workers are told to forget it.
 */
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/local.h"
#include "core/log.h"
#include "core/outputs.h"
#include "core/pool_impl.h"
#include "core/secrets.h"
#include "core/zone.h"

struct mp_version *mp_version_new(struct mp_pool *pool, struct mp_slot *slot,
                                  struct mp_function *fn)
{
    struct mp_version *v = mp_zalloc(sizeof *v);

    v->refs = 1;
    v->id = ++pool->next_version;
    v->fn = mp_function_ref(fn);
    v->slot = slot;
    v->counters = mp_alloc((fn->n_triggers + 1) * sizeof *v->counters);
    mp_list_append(&pool->versions, &v->link);
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        struct mp_trigger_metrics *m =
            mp_metrics_trigger(&slot->metrics, fn->triggers[i].name);

        v->counters[i] = (unsigned)(m - slot->metrics.triggers);
    }
    return v;
}

struct mp_version *mp_version_ref(struct mp_version *v)
{
    v->refs++;
    return v;
}

void mp_version_unref(struct mp_pool *pool, struct mp_version *v)
{
    if (--v->refs)
        return;
    for (unsigned i = 0; i < MP_WORKERS_MAX; i++)
        if (v->loaded_in >> i & 1 && pool->by_bit[i])
            mp_wire_unload(&pool->by_bit[i]->out, v->id);
    mp_list_unlink(&v->link);
    mp_secrets_free(v->secrets, v->n_secrets);
    mp_function_unref(v->fn);
    free(v->counters);
    free(v);
}

/* What os.date goes by: the function's zone, else the node's. */
static struct mp_slice put_zone(const struct mp_process *p,
                                const struct mp_function *fn,
                                struct mp_buf *table)
{
    struct mp_why why;

    mp_buf_init(table, (size_t)MP_LOCAL_ROWS_MAX * MP_LOCAL_ROW);
    if (mp_zone_table_of(fn->timezone ? fn->timezone : p->pool->timezone, table,
                         &why))
        mp_log(MP_ERROR, fn->name, NULL, "%s; os.date shows UTC", why.text);
    return mp_buf_bytes(table);
}

void mp_version_send(struct mp_process *p, struct mp_version *v, bool wanted)
{
    const struct mp_function *fn = v->fn;
    struct mp_slice triggers[MP_TRIGGERS_MAX], observes[MP_TRIGGERS_MAX];
    struct mp_buf filters, zone;
    struct mp_loading *loading = mp_zalloc(sizeof *loading);
    struct mp_load load = {
        .id = ++p->pool->next_id,
        .fn = v->id,
        .name = mp_slice_str(fn->name),
        .version = mp_slice_str(fn->version),
        .node = mp_slice_str(p->pool->node),
        .prefix = mp_slice_str(p->pool->prefix),
        .memory = fn->memory,
        .outputs = fn->outputs,
        .output_bytes = fn->output_bytes,
        .log_bytes = fn->log_bytes,
        .env = fn->env,
        .n_env = fn->n_env,
        .files = fn->files,
        .n_files = fn->n_files,
        .grants = fn->grants,
        .n_grants = fn->n_grants,
        .triggers = triggers,
        .n_triggers = fn->n_triggers,
        .sends = fn->sends,
        .n_sends = fn->n_sends,
        .has_state = fn->has_state,
        .has_key = fn->state_key != NULL,
        .state_quota = fn->state_quota,
        .secrets = v->secrets,
        .n_secrets = v->n_secrets,
        .observes = observes,
    };

    load.n_observes = mp_outputs_observes(fn, observes, &filters);
    load.zone = put_zone(p, fn, &zone);
    for (unsigned i = 0; i < fn->n_triggers; i++)
        triggers[i] = mp_slice_str(fn->triggers[i].name);
    mp_process_expect(p, mp_now_us());
    mp_wire_load(&p->out, &load);
    mp_buf_fini(&filters);
    mp_buf_fini(&zone);
    loading->id = load.id;
    loading->version = mp_version_ref(v);
    loading->wanted = wanted;
    mp_list_append(&p->loading, &loading->link);
    v->loaded_in |= UINT64_C(1) << p->bit;
}

static void loading_end(struct mp_pool *pool, struct mp_loading *loading)
{
    mp_list_unlink(&loading->link);
    mp_version_unref(pool, loading->version);
    free(loading);
}

/* It loaded once and doesn't now: its events wait for a better moment. */
static void quarantine(struct mp_version *v, const struct mp_loaded *loaded)
{
    struct mp_breaker_rule rule = {1, v->fn->breaker_pause_us,
                                   v->fn->breaker_max_pause_us};
    struct mp_breaker *b = &v->slot->breaker;

    if (mp_breaker_failed(b, &rule, mp_now_us()))
        mp_log(MP_ERROR, v->slot->name,
               MP_FIELDS(MP_NUM("next_try_in_ms", b->pause_us / 1000)),
               "quarantined: it did not load in another worker: %.*s",
               MP_FMT(loaded->error));
}

void mp_pool_on_loaded(struct mp_process *p, struct mp_loading *loading,
                       const struct mp_loaded *loaded)
{
    struct mp_version *v = loading->version;

    if (loaded->kind == MP_OUT_OK) {
        v->image_bytes = loaded->image_bytes;
        mp_hist_add(&v->slot->metrics.start_cold,
                    (uint64_t)loaded->load_us * 1000);
    } else {
        v->loaded_in &= ~(UINT64_C(1) << p->bit);
        if (!loading->wanted)
            quarantine(v, loaded);
    }
    p->heard_us = mp_now_us();
    if (loading->wanted)
        p->pool->user.loaded(p->pool->user.arg, v, loaded);
    loading_end(p->pool, loading);
}

/* A process that is gone has no image any more. */
static void forget_images(const struct mp_process *p)
{
    mp_list_each (at, &p->pool->versions)
        mp_of(at, struct mp_version, link)->loaded_in &=
            ~(UINT64_C(1) << p->bit);
}

/* Which load a dead process was at: the one its page names, else the oldest
 * that it has not answered, since it answers in order. */
static struct mp_loading *guilty(struct mp_link *list, uint64_t run)
{
    mp_list_each (at, list) {
        struct mp_loading *loading = mp_of(at, struct mp_loading, link);

        if (loading->id == run)
            return loading;
    }
    return mp_of(list->next, struct mp_loading, link);
}

void mp_versions_lost(struct mp_process *p, uint64_t run, bool started,
                      const char *how)
{
    struct mp_loaded lost = {.kind = MP_OUT_KILLED, .error = mp_slice_str(how)};
    struct mp_loading *blamed = NULL;
    struct mp_link old = p->loading;

    forget_images(p);
    if (mp_list_empty(&p->loading))
        return;
    old.next->prev = old.prev->next = &old;
    mp_list_init(&p->loading);
    if (started && mp_list_empty(&p->inflight))
        blamed = guilty(&old, run);
    while (!mp_list_empty(&old)) {
        struct mp_loading *loading = mp_of(old.next, struct mp_loading, link);

        if (loading->wanted && loading != blamed)
            mp_version_send(p, loading->version, true);
        else if (loading->wanted)
            p->pool->user.loaded(p->pool->user.arg, loading->version, &lost);
        loading_end(p->pool, loading);
    }
}
