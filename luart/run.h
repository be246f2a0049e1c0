/*
 * run.h - user code on a leash: what runs, what it leaves, how it is ended.
 *
 * All that an invocation collects lies outside the arena in mp_inv, as plain
 * bytes: whatever way user code ends, by a return, an error, its deadline or
 * its memory limit, nothing of it has to be cleaned up.
 *
 * Process  worker only.   Thread  one, and MP_SIGNAL's handler.
 * Memory   effects and logs grow to the function's limits and are used again;
 *          values.h for the values of state.
 */
#ifndef MP_LUART_RUN_H
#define MP_LUART_RUN_H

#include "luart/values.h"

typedef struct lua_State lua_State; /* so that the mains need no Lua */

struct mp_image;

enum { MP_WHERE_MAX = 80 }; /* bytes of a place in a file */

struct mp_invocation {
    struct mp_image *image; /* of the function that runs; never NULL then */
    uint64_t id;            /* of the run or load */
    bool initialising;      /* the file's own run: no effects, no waiting */
    bool clock_ok;
    int64_t fake_wall_us;  /* 0: the real clocks */
    enum mp_format format; /* the trigger's */
    enum mp_format takes;  /* of JSON and CBOR, what who asked wants */
    enum mp_event_type type;
    /* Where it called mp.reply last: "main.lua:12: "; "": it has not. */
    char replied_at[MP_WHERE_MAX];
    uint32_t did;       /* MP_DID_* */
    uint32_t n_effects; /* outputs and alarms; state comes at the end */
    uint32_t n_outputs; /* of these, publishes and sends */
    uint32_t output_bytes;
    uint32_t n_logs, log_bytes, logs_cut;
    struct mp_buf effects, logs;
    uint32_t copy_ns, run_ns;
    unsigned close_depth; /* calls of coroutine.close within each other */
    char id_text[MP_EVENT_ID_MAX]; /* the event's id, of id_len bytes */
    size_t id_len;
    /* A batch: its events, and the registry's table of what was said of them:
     * index -> "+REASON" (retry) or "-REASON". */
    uint32_t n_events;
    int verdicts_ref;
    struct mp_values values; /* of the event's actor */
    /* Set by a call that waits, right before it yields; kind 0: none.  Its
     * slices lie in the arena and stay there until the turn is over. */
    struct mp_wait wait;
    /* What it waited for, for the call that goes on; borrowed. */
    struct mp_resume answer;
};

/*
 * What one outcome holds of effects, its result included, and of log lines.
 * The largest output_bytes is 8 MiB and the largest log_bytes 1 MiB; the rest
 * is for the lengths around them.  Both and an error make less than a frame.
 */
enum { MP_EFFECTS_MAX = MP_FRAME_MAX / 4 * 3, MP_LOGS_MAX = 3 << 20 };

enum { MP_VERDICTS_MAX = MP_BATCH_MAX * (MP_REASON_MAX + 16) };

_Static_assert(MP_EFFECTS_MAX + MP_LOGS_MAX + MP_VERDICTS_MAX + (64 << 10) <
                   MP_FRAME_MAX,
               "an outcome fits into a frame");

extern struct mp_invocation mp_inv;

/* Install MP_SIGNAL's handler, which reads page; map the arena. */
MP_MUST int mp_run_open(struct mp_page *page, struct mp_why *why);

/* What the handler calls when it is only a nudge; must be signal-safe. */
void mp_run_on_nudge(void (*nudge)(bool in_user_code));

/*
 * Forget the last invocation; image and id are those of the next.  Buffers
 * are kept, empty.
 */
void mp_inv_reset(struct mp_image *image, uint64_t id);

/* Between invocations: free buffers of more than keep bytes. */
void mp_inv_trim(size_t keep);

/*
 * Call body with L as what runs, watched.  Returns what body returns, or
 * MP_OUT_TIMEOUT or MP_OUT_MEMORY when it was ended.  now_us: for the page.
 */
enum mp_kind mp_run_guard(lua_State *L, enum mp_kind (*body)(void *arg),
                          void *arg, int64_t now_us);

/* The state that body's first coroutine is; for body itself. */
void mp_run_first(lua_State *L);

/*
 * Coroutine co is about to run, or has stopped, inside what runs.  False: it
 * would be nested too deep.  Leaving ends a late run.
 */
bool mp_run_enter(lua_State *co);
void mp_run_leave(void);

/* The coroutine an invocation began with. */
lua_State *mp_run_outermost(void);
/* May what runs wait, or does a C function stand in between? */
bool mp_run_may_wait(void);

/* Traceback of where it ended; empty: unknown. */
struct mp_buf *mp_run_traceback(void);

/* What the invocation takes for the time of day. */
int64_t mp_run_wall_us(void);

#endif
