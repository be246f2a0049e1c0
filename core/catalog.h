/*
 * catalog.h - the functions of this host: found, loaded, live, replaced.
 *
 * A scan reads the directory.  What is new or has other bytes is loaded in a
 * worker; when the last of them has been answered all that loaded go live at
 * once, and what didn't is reported while its old version stays.  Running
 * invocations finish on the version they started with.
 *
 * What doesn't load and has no version before goes live all the same, held:
 * its triggers are subscribed, nothing of it runs, its events wait.  Where
 * even function.conf can't be read, the last good one stands in, which the
 * host keeps in the database.  So a broken function loses nothing that the
 * broker has for it.
 *
 * Process  host only.   Thread  loop thread.
 * Errors   what can't be read for now (no descriptor, no memory, a disk that
 *          fails) is said once and tried again each second, the directory as
 *          a whole or a function of it; what is live stays.
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
    bool listed;       /* the directory could be read, once at least */
    bool unsettled;    /* something has changed since settled was called */
    unsigned replaced; /* what this scan changed, for the log */
    unsigned failed;   /* have mistakes, held ones included */
    /* says that a directory must not go live as it is; NULL: none does */
    bool (*holds)(const char *path);
    /* everything of a scan is settled; changed: routes are others now */
    void (*settled)(void *arg, bool changed);
    void *arg;
    uv_timer_t again; /* for what could not be read */
    char **unread;    /* paths of functions; NULL: the directory itself */
    unsigned n_unread;
    /* functions that can't be read and aren't live; see catalog_held.c */
    char **missing; /* their paths */
    unsigned n_missing;
    uv_timer_t mend; /* loads again what did not load */
    /* Small things by name, durable; set before mp_catalog_recall. */
    struct mp_slice (*kept)(void *arg, const char *name);
    void (*keep)(void *arg, const char *name, struct mp_slice bytes);
};

void mp_catalog_init(struct mp_catalog *c, struct mp_pool *pool,
                     const struct mp_config *config,
                     void (*settled)(void *arg, bool changed), void *arg);
/* Nothing is tried again; before the loop ends. */
void mp_catalog_close(struct mp_catalog *c);
void mp_catalog_fini(struct mp_catalog *c);

/* Read the directory and start what follows; settled is called later. */
void mp_catalog_scan(struct mp_catalog *c);
/*
 * When the database is loaded, and after each scan from then on: what is
 * missing is held by what is kept of it, and what is live is kept.
 */
void mp_catalog_recall(struct mp_catalog *c);
/* For the pool: a version's first LOAD was answered. */
void mp_catalog_loaded(struct mp_catalog *c, struct mp_version *v,
                       const struct mp_loaded *loaded);
/* Live functions, and their triggers. */
unsigned mp_catalog_live(const struct mp_catalog *c, unsigned *triggers);

#endif
