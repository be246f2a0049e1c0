/*
 * image.h - functions as bytes: a Lua state that has run its file once.
 *
 * mp_image_load runs the file in the arena and keeps the arena's bytes;
 * mp_image_enter copies them back.  Images are read-only mappings, so that
 * nothing a run breaks reaches the next.
 *
 * Process  worker only.   Thread  one.
 * Memory   counted: the table holds one, each waiting instance another.
 */
#ifndef MP_LUART_IMAGE_H
#define MP_LUART_IMAGE_H

#include "core/base/list.h"
#include "core/base/wire.h"

typedef struct lua_State lua_State; /* so that the mains need no Lua */

struct mp_handler {
    struct mp_slice name; /* in names */
    int ref;              /* in the registry */
};

struct mp_image {
    struct mp_link link; /* mp_image_find's */
    unsigned refs;
    uint32_t fn;
    struct mp_load load; /* slices into text, arrays of their own */
    struct mp_load_store store;
    char *text;

    struct mp_slice bytes; /* the image; ptr NULL: not loaded */

    /* addresses in the arena, the same in every run */
    lua_State *L, *co;
    uint64_t *random; /* state of math.random: four words */
    int event_ref;    /* the event table, filled by each run */

    /* What is said once, of a handler that loses what it has to say. */
    bool said_reply, said_results;

    bool single; /* handlers[0] is for everything */
    struct mp_handler handlers[MP_TRIGGERS_MAX];
    unsigned n_handlers;
    char *names;
};

/*
 * Load what body (of a LOAD frame) holds, and answer.  The slices of loaded
 * are valid until the next call of a run or load.  An image that is ok
 * replaces one of the same number.  MP_EPARSE: not a LOAD.
 */
MP_MUST int mp_image_load(struct mp_slice body, struct mp_loaded *loaded);

struct mp_image *mp_image_find(uint32_t fn);
void mp_image_unload(uint32_t fn);
struct mp_image *mp_image_ref(struct mp_image *image);
void mp_image_unref(struct mp_image *image);

/* Copy it into the arena, with chance of its own. */
void mp_image_enter(const struct mp_image *image);

/* Seed what the random states of runs come from; before the cage. */
MP_MUST int mp_image_seed(struct mp_why *why);

/* The registry's reference of the handler for a trigger; LUA_NOREF. */
int mp_image_handler(const struct mp_image *image, struct mp_slice trigger);

#endif
