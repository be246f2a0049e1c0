/*
 * breaker.h - stops a function that fails and fails (circuit breaker, as
 * Michael Nygard describes it in "Release It!", 2007).
 *
 *   CLOSED --N failures in a row--> OPEN --pause--> HALF (one probe)
 *      ^                             ^                |   |
 *      +------------- ok ------------|----------------+   |
 *                                    +---- failed --------+  pause doubles
 *
 * While it isn't CLOSED the function is quarantined: its events wait.  It is
 * held when no probe can tell anything, for its files are broken: OPEN until
 * it is reset.
 *
 * Process  host only.   Thread  loop thread.   Memory  a plain structure.
 */
#ifndef MP_BREAKER_H
#define MP_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum mp_breaker_state { MP_BREAKER_CLOSED, MP_BREAKER_OPEN, MP_BREAKER_HALF };

struct mp_breaker {
    enum mp_breaker_state state;
    unsigned in_a_row; /* failures */
    int64_t pause_us;  /* the current one */
    int64_t until_us;  /* OPEN: when a probe may run (monotonic) */
    bool probing;      /* HALF: the probe is out */
    int64_t again_us;  /* held: when it may be loaded again; 0: never */
    uint64_t held_back;
};

struct mp_breaker_rule {
    unsigned failures;
    int64_t pause_us, max_pause_us;
};

/* May an invocation start?  Turns OPEN into HALF when its time has come. */
bool mp_breaker_may_start(struct mp_breaker *b, int64_t now_us);
/* One started: in HALF it is the probe. */
void mp_breaker_started(struct mp_breaker *b);
/* One ended well, or in a way that says nothing (forget: neither). */
void mp_breaker_ok(struct mp_breaker *b);
void mp_breaker_forget(struct mp_breaker *b);
/* One failed; true: it is quarantined from now on, until b->until_us. */
bool mp_breaker_failed(struct mp_breaker *b, const struct mp_breaker_rule *rule,
                       int64_t now_us);
/* No probe from now on.  rule: it is loaded again by itself, after a pause
 * that grows; NULL: it is not. */
void mp_breaker_hold(struct mp_breaker *b, const struct mp_breaker_rule *rule,
                     int64_t now_us);
/* As new: the function was replaced. */
void mp_breaker_reset(struct mp_breaker *b);

#endif
