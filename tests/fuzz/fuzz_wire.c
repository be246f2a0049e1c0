/*
 * fuzz_wire.c - any bytes at all, as the effects that a worker sends.
 *
 * What must hold: nothing outside the bytes is read, what is taken is within
 * the bounds that the host counts on, and it is written as the bytes it was.
 */
#include <math.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "tests/corpus/wire/rows.h"
#include "tests/fuzz/fuzz_main.h"

static void check(const struct mp_effect *e)
{
    MP_ASSERT(e->kind > 0 && e->kind < MP_EFFECT_KINDS);
    MP_ASSERT(e->n_properties <= MP_PAIRS_MAX);
    MP_ASSERT(e->key.len <= MP_KEY_MAX && mp_utf8_valid(e->key));
    MP_ASSERT(e->name.len <= MP_STATE_NAME_MAX && mp_utf8_valid(e->name));
    MP_ASSERT(e->delay_us >= 0 && e->slack_us >= 0 && e->ttl_us >= 0);
    MP_ASSERT(e->value.text.len <= MP_STATE_VALUE_MAX);
    MP_ASSERT(e->value.kind != MP_VALUE_FLOAT || isfinite(e->value.number));
    MP_ASSERT(e->kind == MP_EFFECT_PUBLISH || e->name.len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    char *exact = mp_alloc(size);
    struct mp_reader r = mp_reader(mp_slice(exact, size));
    struct mp_effect e;
    struct mp_buf b;

    if (size)
        memcpy(exact, data, size);
    mp_buf_init(&b, MP_FRAME_MAX);
    for (const char *from = r.at; r.at < r.end; from = r.at) {
        if (mp_read_effect(&r, &e, pairs))
            break;
        check(&e);
        mp_buf_reset(&b);
        mp_wire_put_effect(&b, &e);
        MP_ASSERT(mp_slice_eq(mp_buf_bytes(&b),
                              mp_slice(from, (size_t)(r.at - from))));
    }
    mp_buf_fini(&b);
    free(exact);
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *fuzz_word(uint64_t any)
{
    static const char *const words[] = {"\1",           "\2",      "\3",  "\4",
                                        "\377\377\377", "archive", "\177"};

    return words[any % ARRAY_LEN(words)];
}

static void fuzz_seeds(void)
{
    static struct mp_buf rows[ARRAY_LEN(wire_rows)];

    for (size_t i = 0; i < ARRAY_LEN(wire_rows); i++) {
        mp_buf_init(&rows[i], 4096); /* kept: seeds are borrowed */
        mp_wire_put_effect(&rows[i], &wire_rows[i]);
        fuzz_add(mp_buf_bytes(&rows[i]));
    }
}
#endif
