/*
 * state_change.c - what one invocation sees of its actor, and does to it.
 *
 * What has expired is as if it were not there, but its row is, and counts,
 * until the next transaction takes it away.  Nobody waits for that one, so an
 * event that only reads causes no commit.
 */
#include "core/actor.h"

struct mp_run_state mp_state_travel(struct mp_states *s, struct mp_actor *actor)
{
    const struct mp_state_fn *fn = actor->fn;
    struct mp_run_state run;

    if (mp_actor_expire(actor, mp_states_now(s)))
        mp_states_changed(s, actor, false);
    run = (struct mp_run_state){
        .complete = actor->complete,
        .left = (int64_t)(fn->quota - fn->bytes),
        .n = actor->n,
        .entries =
            mp_slice(actor->n ? actor->entries.ptr : "", actor->entries.len),
    };
    if (run.entries.len > MP_STATE_TRAVEL_MAX) {
        run.entries.len = mp_actor_first(actor, MP_STATE_TRAVEL_MAX, &run.n);
        run.complete = run.n == actor->n && actor->complete;
    }
    return run;
}

void mp_states_changed(struct mp_states *s, struct mp_actor *a, bool wanted)
{
    if (a->volatile_)
        return;
    if (mp_list_empty(&a->dirty))
        mp_list_append(&s->dirty, &a->dirty);
    a->kept = wanted ? mp_commit_ticket(s->commit) : s->commit->ticket;
    if (wanted)
        a->ticket = a->kept;
}

int64_t mp_state_cost(struct mp_states *s, struct mp_actor *actor,
                      const struct mp_effect *effect)
{
    struct mp_place p;
    size_t now = 0;

    (void)s;
    if (effect->kind != MP_EFFECT_STATE)
        return 0;
    p = mp_actor_find(actor, effect->name);
    if (effect->value.kind != MP_VALUE_NONE)
        now = mp_actor_bytes(actor, effect->name, &effect->value);
    return (int64_t)now - (int64_t)mp_place_bytes(actor, &p, effect->name);
}

uint64_t mp_state_growth(struct mp_states *s, struct mp_actor *actor,
                         const struct mp_effect *effect)
{
    struct mp_place p;

    (void)s;
    if (effect->kind != MP_EFFECT_STATE || actor->volatile_ ||
        effect->value.kind == MP_VALUE_NONE)
        return 0;
    p = mp_actor_find(actor, effect->name);
    return mp_commit_change_cost(
        mp_place_bytes(actor, &p, effect->name),
        mp_actor_bytes(actor, effect->name, &effect->value));
}

bool mp_state_apply(struct mp_states *s, struct mp_actor *actor,
                    const struct mp_effect *effect)
{
    struct mp_place p = mp_actor_find(actor, effect->name);
    struct mp_entry e = {
        .name = effect->name,
        .value = mp_value_kept(&effect->value),
    };
    int64_t now = 0;

    /* Most values never expire: spare them the clock. */
    if (effect->ttl_us || p.entry.expires_us || p.rest)
        now = mp_states_now(s);
    if (e.value.kind == MP_VALUE_NONE) {
        if (!mp_place_is(&p, now))
            return false;
    } else if (effect->ttl_us == 0) {
        if (mp_place_has(actor, &p, &e.value))
            return false;
    } else {
        e.expires_us =
            effect->ttl_us < INT64_MAX - now ? now + effect->ttl_us : INT64_MAX;
    }
    mp_actor_put(actor, &p, &e);
    mp_states_changed(s, actor, true);
    return true;
}

uint64_t mp_state_ticket(const struct mp_actor *actor)
{
    return mp_commit_is_durable(actor->states->commit, actor->ticket)
               ? 0
               : actor->ticket;
}
