/*
 * worker_kit.h - for tests that drive a real moonpool-worker over its socket.
 *
 * A kit is a worker and what was last said to it and by it.  Every wait has
 * an end: after WAIT_MS the test fails.
 */
#ifndef MP_TESTS_WORKER_KIT_H
#define MP_TESTS_WORKER_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the ones above */
#include <cmocka.h>

#include "core/base/clock.h"
#include "core/worker.h"

enum { KIT_WAIT_MS = 20000 };

struct kit {
    struct mp_worker worker;
    uint64_t next_id;
    struct mp_buf out, in; /* in: what came, from `taken` on not yet read */
    size_t taken;
    uint8_t type; /* of the last frame */
    struct mp_outcome done;
    struct mp_loaded loaded;
    struct mp_wait wait;
    struct mp_slice names[MP_TRIGGERS_MAX];
    struct mp_allowance allowed;
    /* for the next load */
    uint32_t memory, outputs, output_bytes, log_bytes;
    int64_t fake_wall_us;
    const char *grant, *trigger, *send, *observe;
    const struct mp_pair *secrets;
    uint32_t n_secrets;
    struct mp_slice zone;
    bool has_state, has_key;
    /* for the next event */
    struct mp_run_state state;
    const char *key; /* NULL: none */
};

struct kit *kit_open(void);
void kit_close(struct kit *k);

/* Send what is in out. */
void kit_flush(struct kit *k);
/* Wait for a frame, watching the worker's clock; false: its socket ended. */
bool kit_next(struct kit *k);

/* Load files (path, text, ..., NULL) as function fn and wait for LOADED. */
void kit_load_files(struct kit *k, uint32_t fn, const char *const *files);
void kit_try_load(struct kit *k, uint32_t fn, const char *text);
/* As kit_try_load; it must be ok. */
void kit_load(struct kit *k, uint32_t fn, const char *text);

/* An MQTT reading. */
struct mp_run kit_event(struct kit *k, uint32_t fn, struct mp_slice data);
/* Send one and wait for DONE or WAIT (see type); false: the worker died. */
bool kit_try_run(struct kit *k, uint32_t fn, const char *data);
/* As kit_try_run; DONE must come. */
void kit_run(struct kit *k, uint32_t fn, const char *data);
/* Resume a waiting run and wait for the next frame. */
void kit_resume(struct kit *k, uint64_t run);
/* As that, with what it waited for. */
void kit_answer(struct kit *k, const struct mp_resume *answer);

#define assert_slice(slice, text)                                              \
    do {                                                                       \
        struct mp_slice slice_ = (slice);                                      \
        if (!mp_slice_is(slice_, (text)))                                      \
            fail_msg("got \"%.*s\", expected \"%s\"", MP_FMT(slice_), (text)); \
    } while (0)

#define assert_has(slice, text)                                                \
    do {                                                                       \
        struct mp_slice slice_ = (slice);                                      \
        if (!memmem(slice_.ptr, slice_.len, (text), strlen(text)))             \
            fail_msg("\"%.*s\" doesn't hold \"%s\"", MP_FMT(slice_), (text));  \
    } while (0)

#endif
