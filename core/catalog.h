/*
 * catalog.h - the functions of this host: found, loaded, live, replaced.
 *
 * A scan reads the directory.  What is new or has other bytes is loaded in a
 * worker; when the last of them has been answered all that loaded go live at
 * once, and what didn't is reported while its old version stays.  Running
 * invocations finish on the version they started with.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_CATALOG_H
#define MP_CATALOG_H

#include "core/pool.h"

struct mp_catalog {
    struct mp_link slots;
    struct mp_pool *pool;
    const struct mp_config *config;
    unsigned pending;  /* loads not answered */
    bool scanning;     /* don't settle in the middle of a scan */
    unsigned replaced; /* what this scan changed, for the log */
    unsigned failed;
    /* says that a directory must not go live as it is; NULL: none does */
    bool (*holds)(const char *path);
    /* everything of a scan is settled; changed: routes are others now */
    void (*settled)(void *arg, bool changed);
    void *arg;
};

void mp_catalog_init(struct mp_catalog *c, struct mp_pool *pool,
                     const struct mp_config *config,
                     void (*settled)(void *arg, bool changed), void *arg);
void mp_catalog_fini(struct mp_catalog *c);

/* Read the directory and start what follows; settled is called later. */
void mp_catalog_scan(struct mp_catalog *c);
/* For the pool: a version's first LOAD was answered. */
void mp_catalog_loaded(struct mp_catalog *c, struct mp_version *v,
                       const struct mp_loaded *loaded);
/* Live functions, and their triggers. */
unsigned mp_catalog_live(const struct mp_catalog *c, unsigned *triggers);

#endif
