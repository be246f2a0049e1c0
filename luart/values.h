/*
 * values.h - the values of an invocation's actor: those that came with the
 * event, and what the function has made of them.
 *
 * The values travel with RUN as bytes.  They are kept as they are; the first
 * call that asks for one makes an index.  A change is kept beside the value
 * that came, so that at the end each name that is another value now is one
 * effect, however often it was changed.
 *
 * An actor that is too large comes in part, the first ones by name: a name
 * behind the last that came is not at hand, unless it was changed here.
 *
 * Process  worker only.   Thread  one.
 * Memory   outside the arena, so that it stays what it is while an instance
 *          waits, and whatever way user code ends; no call runs Lua code.
 */
#ifndef MP_LUART_VALUES_H
#define MP_LUART_VALUES_H

#include "core/base/event.h"
#include "core/base/wire.h"

/* One name. */
struct mp_held {
    struct mp_slice name;
    struct mp_value came; /* NONE: there was none */
    bool known;           /* came is what there was; else it wasn't at hand */
    bool expires;         /* what came does */
    bool changed;
    struct mp_value now;
    enum mp_state_op op; /* the last one; for changed */
    int64_t ttl_us;
    struct mp_held *next; /* of those changed, in order of first changes */
    char *text;           /* owned: that of now, when changed */
    bool own;             /* not of the index: a block of its own */
};

struct mp_values {
    bool complete;
    bool open;    /* the index is made */
    int64_t left; /* of the quota, less what the changes add */
    size_t key_len;
    uint32_t came;
    struct mp_buf bytes;   /* the entries as they came */
    struct mp_held **held; /* sorted by name */
    struct mp_held *index; /* those that came, one block */
    size_t n, cap;
    struct mp_held *first, *last; /* changed */
    uint32_t n_changed;
    size_t pending; /* bytes that the effects of the changes will take */
};

/* Take those of a run; v is empty.  The run's bytes are copied.  key_len: of
 * the actor's key, which counts for the quota with each value. */
void mp_values_take(struct mp_values *v, const struct mp_run_state *state,
                    size_t key_len);

/* Forget all; memory of `bytes` is kept. */
void mp_values_reset(struct mp_values *v);
void mp_values_fini(struct mp_values *v);

/* The one of this name, or NULL: there is none, or it is not at hand. */
struct mp_held *mp_values_find(struct mp_values *v, struct mp_slice name);

/* Is it known here whether there is such a value, and which? */
bool mp_values_at_hand(struct mp_values *v, struct mp_slice name);

/* Up to which name all is at hand, when not complete; ptr NULL: none is. */
struct mp_slice mp_values_border(struct mp_values *v);

/* The index of the first one with a name >= (above: >) name; n: none. */
size_t mp_values_seek(struct mp_values *v, struct mp_slice name, bool above);

/* Bytes of the quota and of the outcome that a change would add. */
struct mp_values_cost {
    int64_t quota;
    int64_t pending;
};
struct mp_values_cost mp_values_cost(struct mp_values *v, struct mp_slice name,
                                     const struct mp_value *value);

/* Change one (value NONE: delete it).  All is copied. */
void mp_values_set(struct mp_values *v, struct mp_slice name,
                   const struct mp_value *value, enum mp_state_op op,
                   int64_t ttl_us);

/* Append the effects; returns their number. */
uint32_t mp_values_effects(const struct mp_values *v, struct mp_buf *effects);

/* Byte order, as names are sorted in. */
int mp_values_compare(struct mp_slice a, struct mp_slice b);

#endif
