/*
 * state_edit.c - changes from outside.  An edit takes the actor as an
 * invocation does, so that it never comes between an event's reading and
 * writing, and waits for the disk as one does.
 */
#include <stdlib.h>

#include "core/actor.h"

struct edit {
    struct mp_link link; /* in states->edits */
    struct mp_states *states;
    struct mp_state_fn *fn;
    struct mp_state_edit *told;
    struct mp_slice key;
    struct mp_effect effect;
    struct mp_state_wait wait;
    struct mp_commit_wait commit;
    int rc;
    char text[];
};

static void edit_free(struct edit *e)
{
    mp_state_wait_not(&e->wait);
    mp_commit_wait_not(&e->commit);
    mp_list_unlink(&e->link);
    e->told->job = NULL;
    free(e);
}

static void edit_end(struct edit *e, int rc)
{
    struct mp_state_edit *told = e->told;

    edit_free(e);
    told->done(told, rc);
}

static void on_durable(struct mp_commit_wait *w, int rc)
{
    struct edit *e = mp_of(w, struct edit, commit);

    edit_end(e, e->rc ? e->rc : rc);
}

/* Nothing waits for the disk: it is told at the loop's next turn. */
static void on_turn(struct mp_commit_wait *w, int rc)
{
    struct edit *e = mp_of(w, struct edit, commit);

    (void)rc;
    edit_end(e, e->rc);
}

static void edit_try(struct edit *e)
{
    struct mp_states *s = e->states;
    struct mp_actor *a = mp_state_take(s, e->fn, e->key, &e->wait);
    int64_t cost;
    uint64_t ticket;

    if (!a)
        return;
    cost = mp_state_cost(s, a, &e->effect);
    if (cost > 0 && e->fn->bytes + (uint64_t)cost > e->fn->quota)
        e->rc = MP_EFULL;
    else
        (void)mp_state_apply(s, a, &e->effect);
    ticket = e->rc ? 0 : mp_state_ticket(a);
    mp_commit_wait(s->commit, &e->commit, ticket,
                   ticket ? on_durable : on_turn);
    mp_state_leave(s, a);
}

static void on_wait(struct mp_state_wait *w, int rc)
{
    struct edit *e = mp_of(w, struct edit, wait);

    if (rc)
        edit_end(e, rc);
    else
        edit_try(e);
}

static struct mp_slice keep(char **at, struct mp_slice s)
{
    struct mp_slice kept = mp_slice(*at, s.len);

    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

void mp_state_edit(struct mp_states *s, struct mp_state_fn *fn,
                   struct mp_slice key, struct mp_slice name,
                   const struct mp_value *value, struct mp_state_edit *told)
{
    bool has_text =
        value->kind == MP_VALUE_STRING || value->kind == MP_VALUE_TABLE;
    struct mp_slice text = has_text ? value->text : mp_slice("", 0);
    struct edit *e = mp_zalloc(sizeof *e + key.len + name.len + text.len);
    char *at = e->text;

    e->states = s;
    e->fn = fn;
    e->told = told;
    e->key = keep(&at, key);
    e->effect.kind = MP_EFFECT_STATE;
    e->effect.op =
        value->kind == MP_VALUE_NONE ? MP_STATE_DELETE : MP_STATE_SET;
    e->effect.name = keep(&at, name);
    e->effect.value = *value;
    e->effect.value.text = keep(&at, text);
    e->wait.done = on_wait;
    mp_list_init(&e->wait.link);
    mp_list_init(&e->commit.link);
    mp_list_append(&s->edits, &e->link);
    told->job = e;
    edit_try(e);
}

void mp_state_edit_not(struct mp_state_edit *told)
{
    if (told->job)
        edit_free(told->job);
}

void mp_state_edits_fini(struct mp_states *s)
{
    while (!mp_list_empty(&s->edits))
        edit_free(mp_of(s->edits.next, struct edit, link));
}
