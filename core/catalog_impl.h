/*
 * catalog_impl.h - what catalog.c (directories become live functions) and
 * catalog_held.c (those that can't run, and whose events must wait) are to
 * each other.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_CATALOG_IMPL_H
#define MP_CATALOG_IMPL_H

#include "core/catalog.h"

/* ---- catalog.c ---- */

/* Slots by name, and by the path their live version was read from; or NULL. */
struct mp_slot *mp_catalog_find(struct mp_catalog *c, const char *name);
struct mp_slot *mp_catalog_find_path(struct mp_catalog *c, const char *path);
/* NULL: no worker is left for it, which was said. */
struct mp_slot *mp_catalog_slot_new(struct mp_catalog *c,
                                    const struct mp_function *fn);
/* Is there a function in that directory, as far as can be told? */
bool mp_catalog_is_function(const char *path);
/* Read what its function was granted to know into v. */
MP_MUST int mp_catalog_give_secrets(const struct mp_catalog *c,
                                    struct mp_version *v, struct mp_why *why);
/* The slot's next version is on its way from a worker. */
void mp_catalog_load(struct mp_catalog *c, struct mp_slot *slot,
                     struct mp_function *fn);

/* ---- catalog_held.c ---- */

/* It can't be read, and isn't live. */
void mp_catalog_miss(struct mp_catalog *c, const char *path);
void mp_catalog_miss_none(struct mp_catalog *c);
/* Its live version is broken: nothing of it runs until another is live. */
void mp_catalog_hold(struct mp_catalog *c, struct mp_slot *slot);
/* Loaded again by itself, its next version does not load still.  False: it
 * is another than the live one. */
bool mp_catalog_still_broken(struct mp_catalog *c, struct mp_slot *slot);
/* Say that the slot's next version, with its mistakes, is held. */
void mp_catalog_say_held(struct mp_slot *slot, const struct mp_loaded *loaded);

#endif
