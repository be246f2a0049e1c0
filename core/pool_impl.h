/*
 * pool_impl.h - what the parts of the pool share: pool.c (groups, dispatch,
 * what comes back), pool_watch.c (deadlines), pool_death.c (deaths),
 * version.c (images in workers).
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_POOL_IMPL_H
#define MP_POOL_IMPL_H

#include "core/pool.h"

/* pool.c */
void mp_process_spawn(struct mp_process *p);
void mp_process_free(struct mp_process *p);
/* Take it from its process, and from what that has in flight. */
void mp_invocation_leave(struct mp_invocation *inv);
/* End the timer of a wait. */
void mp_invocation_wake(struct mp_invocation *inv);
/* It runs alone from now on. */
void mp_pool_suspect(struct mp_group *g, struct mp_invocation *inv);
/* Give it back to the queue's front, or to the suspects if it is one. */
void mp_pool_put_back(struct mp_process *p, struct mp_invocation *inv);
/* The run must be what a process died of, or was ended for: alone, that
 * costs it a life; else it runs alone from now on. */
void mp_pool_blame(struct mp_process *p, struct mp_invocation *inv,
                   const char *how);
/* Something is handed to a process: if it had nothing, its silence starts. */
void mp_process_expect(struct mp_process *p, int64_t now_us);
/* Try in a moment to start what could not be started. */
void mp_pool_retry_soon(struct mp_pool *pool);

/* version.c */
void mp_version_send(struct mp_process *p, struct mp_version *v, bool wanted);
/* The process is gone, and its images; run: what it was at.  started: it
 * got as far as its cage. */
void mp_versions_lost(struct mp_process *p, uint64_t run, bool started,
                      const char *how);

/* pool_watch.c */
void mp_pool_watch(struct mp_pool *pool);

#endif
