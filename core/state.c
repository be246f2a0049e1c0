/*
 * state.c - the actors in memory: who has one, and when it may go.
 *
 *              take                    read             let_go
 *   (nowhere) ──────► READING ──────────────────► HERE ────────► LEAVING
 *       ▲                │ fails                   │ evicted        │ durable
 *       └────────────────┴─────────────────────────┴────────────────┘
 *
 * What must stay true: as long as the database does not hold what memory
 * knows of an actor, the actor is in memory.  So what is read is complete,
 * and only who looks at an actor in memory ever changes it.  An actor is
 * evicted, or read again, after the ticket of its last change (`kept`) is
 * durable; expiry is such a change, though nobody waits for it.
 *
 * Who wants an actor that is not at hand is in its list of waits, and told to
 * take it again; whoever comes first has it, the others wait on.
 */
#include "core/state.h"

#include <stdlib.h>
#include <sys/random.h>

#include "core/actor.h"
#include "core/base/clock.h"

enum { BUCKETS_MIN = 64 };

int64_t mp_states_now(const struct mp_states *s)
{
    return mp_timeline_at(s->timeline, mp_now_us());
}

void mp_states_init(struct mp_states *s, struct mp_commit *commit,
                    struct mp_reader_thread *reader,
                    const struct mp_timeline *timeline)
{
    *s = (struct mp_states){
        .commit = commit,
        .reader = reader,
        .timeline = timeline,
        .n_buckets = BUCKETS_MIN,
        .bucket = mp_zalloc(BUCKETS_MIN * sizeof(struct mp_actor *)),
    };
    mp_list_init(&s->fns);
    mp_list_init(&s->idle);
    mp_list_init(&s->dirty);
    mp_list_init(&s->edits);
    if (getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
}

/* ---- functions ---- */

struct mp_state_fn *mp_states_fn(struct mp_states *s, struct mp_slice name)
{
    struct mp_state_fn *fn;

    if (name.len > MP_NAME_MAX)
        name.len = MP_NAME_MAX;
    mp_list_each (at, &s->fns) {
        fn = mp_of(at, struct mp_state_fn, link);
        if (mp_slice_is(name, fn->name))
            return fn;
    }
    fn = mp_zalloc(sizeof *fn);
    memcpy(fn->name, name.ptr, name.len);
    mp_list_append(&s->fns, &fn->link);
    return fn;
}

int mp_states_load(struct mp_states *s, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_BYTES);
    int rc;

    while ((rc = mp_query_step(q, why)) == 1)
        mp_state_count(mp_states_fn(s, mp_column_bytes(q, 0)),
                       (uint64_t)mp_column_int(q, 1), 0);
    mp_query_end(q);
    return rc;
}

/* ---- the table ---- */

static uint64_t hash_of(const struct mp_states *s, const struct mp_state_fn *fn,
                        struct mp_slice key)
{
    struct mp_hasher h;

    mp_hasher_init(&h, &s->seed);
    mp_hasher_add_u64(&h, (uintptr_t)fn);
    mp_hasher_add(&h, key);
    return mp_hasher_end(&h).lo;
}

static struct mp_actor **bucket_of(const struct mp_states *s, uint64_t hash)
{
    return &s->bucket[hash & (s->n_buckets - 1)];
}

static struct mp_actor *find(const struct mp_states *s,
                             const struct mp_state_fn *fn, struct mp_slice key,
                             uint64_t hash)
{
    struct mp_actor *a = *bucket_of(s, hash);

    while (a && (a->hash != hash || a->fn != fn || !mp_slice_eq(a->key, key)))
        a = a->chain;
    return a;
}

struct mp_actor *mp_states_find(struct mp_states *s, struct mp_state_fn *fn,
                                struct mp_slice key)
{
    return find(s, fn, key, hash_of(s, fn, key));
}

static void grow(struct mp_states *s)
{
    struct mp_actor **old = s->bucket;
    size_t n = s->n_buckets;

    s->n_buckets = n * 2;
    s->bucket = mp_zalloc(s->n_buckets * sizeof(struct mp_actor *));
    for (size_t i = 0; i < n; i++) {
        for (struct mp_actor *a = old[i], *next; a; a = next) {
            struct mp_actor **to = bucket_of(s, a->hash);

            next = a->chain;
            a->chain = *to;
            *to = a;
        }
    }
    free(old);
}

static struct mp_actor *add(struct mp_states *s, struct mp_state_fn *fn,
                            struct mp_slice key, uint64_t hash)
{
    struct mp_actor *a = mp_actor_new(s, fn, key), **to;

    if (s->n_actors >= s->n_buckets)
        grow(s);
    to = bucket_of(s, hash);
    a->hash = hash;
    a->chain = *to;
    *to = a;
    s->n_actors++;
    return a;
}

static void remove_from_table(struct mp_states *s, struct mp_actor *a)
{
    struct mp_actor **at = bucket_of(s, a->hash);

    while (*at != a)
        at = &(*at)->chain;
    *at = a->chain;
    s->n_actors--;
}

/* ---- waits ---- */

static void move_list(struct mp_link *to, struct mp_link *from)
{
    while (!mp_list_empty(from)) {
        struct mp_link *first = from->next;

        mp_list_unlink(first);
        mp_list_append(to, first);
    }
}

/* Nothing may be held across this but s: who is called takes and leaves. */
static void wake(struct mp_link *waits, int rc)
{
    while (!mp_list_empty(waits)) {
        struct mp_state_wait *w =
            mp_of(waits->next, struct mp_state_wait, link);

        mp_list_unlink(&w->link);
        w->done(w, rc);
    }
}

void mp_state_wait_not(struct mp_state_wait *w)
{
    if (w->link.next)
        mp_list_unlink(&w->link);
}

/* ---- coming and going ---- */

static void unidle(struct mp_states *s, struct mp_actor *a)
{
    if (mp_list_empty(&a->idle))
        return;
    mp_list_unlink(&a->idle);
    s->idle_bytes -= a->weight;
}

/* Is all of it on disk? */
static bool is_safe(const struct mp_states *s, const struct mp_actor *a)
{
    return mp_list_empty(&a->dirty) && mp_commit_is_durable(s->commit, a->kept);
}

/* Forget it.  Its waits go to `waits`. */
static void forget(struct mp_states *s, struct mp_actor *a,
                   struct mp_link *waits)
{
    move_list(waits, &a->waits);
    if (a->read)
        mp_actor_read_not(a);
    if (a->stage == MP_ACTOR_LEAVING)
        mp_commit_wait_not(&a->leaving);
    if (a->volatile_)
        mp_state_count(a->fn, 0, mp_actor_sum(a));
    unidle(s, a);
    mp_list_unlink(&a->dirty);
    remove_from_table(s, a);
    mp_actor_free(a);
}

/* Forget it, and tell who wants it. */
static void drop(struct mp_states *s, struct mp_actor *a, int rc)
{
    struct mp_link waits;

    mp_list_init(&waits);
    forget(s, a, &waits);
    wake(&waits, rc);
}

static void on_left(struct mp_commit_wait *w, int rc)
{
    struct mp_actor *a = mp_of(w, struct mp_actor, leaving);
    struct mp_link waits;

    if (rc == 0) {
        drop(a->states, a, 0);
        return;
    }
    /* Its changes are lost; the reset that follows forgets it. */
    mp_list_init(&waits);
    move_list(&waits, &a->waits);
    wake(&waits, rc);
}

/* It is LEAVING and somebody wants it: expiry alone wants no commit. */
static void hurry(struct mp_states *s, const struct mp_actor *a)
{
    if (a->kept >= s->commit->ticket)
        (void)mp_commit_ticket(s->commit);
}

/* Drop it as soon as it may go. */
static void let_go(struct mp_states *s, struct mp_actor *a)
{
    if (a->volatile_ || is_safe(s, a)) {
        drop(s, a, 0);
        return;
    }
    unidle(s, a);
    a->stage = MP_ACTOR_LEAVING;
    mp_commit_wait(s->commit, &a->leaving, a->kept, on_left);
    if (!mp_list_empty(&a->waits))
        hurry(s, a);
}

/* Its kind of memory isn't what the function has now, or it is too large. */
static bool must_go(const struct mp_actor *a)
{
    if (a->volatile_ != a->fn->volatile_)
        return true;
    if (a->volatile_)
        return a->n == 0;
    return !a->complete || a->entries.len > MP_STATE_TRAVEL_MAX;
}

static void evict(struct mp_states *s)
{
    /* The last one stays, however large: somebody is about to take it. */
    while (s->idle_bytes > MP_STATE_CACHE && s->idle.next != s->idle.prev) {
        struct mp_actor *a = mp_of(s->idle.next, struct mp_actor, idle);

        if (!is_safe(s, a))
            break; /* those behind it were in use later still */
        drop(s, a, 0);
    }
}

/* Nobody has it now: keep it, as long as there is room. */
static void rest(struct mp_states *s, struct mp_actor *a)
{
    struct mp_link waits;

    mp_list_init(&waits);
    move_list(&waits, &a->waits);
    if (!a->volatile_) {
        a->weight = mp_actor_weight(a);
        s->idle_bytes += a->weight;
        mp_list_append(&s->idle, &a->idle);
    }
    wake(&waits, 0);
    evict(s);
}

void mp_states_read_done(struct mp_states *s, struct mp_actor *a, int rc)
{
    if (rc) {
        drop(s, a, rc);
        return;
    }
    a->stage = MP_ACTOR_HERE;
    if (a->volatile_ != a->fn->volatile_)
        let_go(s, a);
    else
        rest(s, a);
}

void mp_states_trim(struct mp_states *s, struct mp_actor *a)
{
    /* Only who is taken, coming or going is waited for. */
    if (a->stage == MP_ACTOR_HERE && !a->taken && must_go(a))
        let_go(s, a);
}

void mp_states_look(struct mp_states *s, struct mp_state_fn *fn)
{
    if (fn->was_volatile == fn->volatile_)
        return;
    fn->was_volatile = fn->volatile_;
    for (size_t i = 0; i < s->n_buckets; i++) {
        for (struct mp_actor *a = s->bucket[i], *next; a; a = next) {
            next = a->chain;
            if (a->fn == fn)
                mp_states_trim(s, a);
        }
    }
}

/* ---- one invocation ---- */

struct mp_actor *mp_state_take(struct mp_states *s, struct mp_state_fn *fn,
                               struct mp_slice key, struct mp_state_wait *w)
{
    uint64_t hash = hash_of(s, fn, key);
    struct mp_actor *a;

    mp_states_look(s, fn);
    a = find(s, fn, key, hash);
    if (!a) {
        a = add(s, fn, key, hash);
        a->volatile_ = fn->volatile_;
        a->complete = true;
        a->stage = MP_ACTOR_HERE;
        if (!a->volatile_) {
            a->stage = MP_ACTOR_READING;
            mp_actor_read_begin(a);
        }
    }
    if (a->stage != MP_ACTOR_HERE || a->taken) {
        mp_list_append(&a->waits, &w->link);
        if (a->stage == MP_ACTOR_LEAVING)
            hurry(s, a);
        return NULL;
    }
    unidle(s, a);
    a->taken = true;
    return a;
}

void mp_state_leave(struct mp_states *s, struct mp_actor *actor)
{
    MP_ASSERT(actor->taken);
    actor->taken = false;
    if (must_go(actor))
        let_go(s, actor);
    else
        rest(s, actor);
}

/* ---- all of them ---- */

void mp_states_seal(struct mp_states *s, struct mp_batch *batch)
{
    while (!mp_list_empty(&s->dirty)) {
        struct mp_actor *a = mp_of(s->dirty.next, struct mp_actor, dirty);

        mp_list_unlink(&a->dirty);
        mp_batch_share(batch, a->fn->flash);
        mp_actor_seal(a, batch);
    }
    mp_batch_share(batch, NULL);
}

/* Forget all actors, or those that are not only in memory. */
static void forget_all(struct mp_states *s, bool volatile_too,
                       struct mp_link *waits)
{
    for (size_t i = 0; i < s->n_buckets; i++) {
        for (struct mp_actor *a = s->bucket[i], *next; a; a = next) {
            next = a->chain;
            if (!a->volatile_ || volatile_too)
                forget(s, a, waits);
        }
    }
}

/* What is counted is what is in memory only. */
static void count_again(struct mp_states *s)
{
    mp_list_each (at, &s->fns) {
        struct mp_state_fn *fn = mp_of(at, struct mp_state_fn, link);

        mp_state_count(fn, 0, fn->values);
    }
    for (size_t i = 0; i < s->n_buckets; i++)
        for (struct mp_actor *a = s->bucket[i]; a; a = a->chain)
            mp_state_count(a->fn, mp_actor_sum(a), 0);
}

void mp_states_reset(struct mp_states *s)
{
    struct mp_link waits;

    mp_list_init(&waits);
    mp_state_sweep_fini(s);
    for (size_t i = 0; i < s->n_buckets; i++)
        for (struct mp_actor *a = s->bucket[i]; a; a = a->chain)
            MP_ASSERT(a->volatile_ || !a->taken);
    forget_all(s, false, &waits);
    count_again(s);
    wake(&waits, MP_EIO);
}

void mp_states_fini(struct mp_states *s)
{
    struct mp_link waits;

    mp_list_init(&waits);
    mp_state_sweep_fini(s);
    mp_state_edits_fini(s);
    forget_all(s, true, &waits);
    while (!mp_list_empty(&waits))
        mp_list_unlink(waits.next);
    while (!mp_list_empty(&s->fns)) {
        struct mp_state_fn *fn = mp_of(s->fns.next, struct mp_state_fn, link);

        mp_list_unlink(&fn->link);
        free(fn);
    }
    free(s->bucket);
    s->bucket = NULL;
}
