/*
 * function.c - what one can ask a function that was read, and its end.
 *
 * Lists (grants, secrets, env, files) are one block each: the array first, its
 * bytes behind it.  So freeing the array is all there is to free.
 */
#include "core/function.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/keys.h"
#include "core/stream.h"

struct mp_function *mp_function_ref(struct mp_function *fn)
{
    MP_ASSERT(fn->refs > 0);
    fn->refs++;
    return fn;
}

static void trigger_fini(struct mp_trigger *trigger)
{
    for (unsigned i = 0; i < trigger->n_patterns; i++)
        mp_pattern_fini(&trigger->patterns[i]);
    free(trigger->patterns);
    free(trigger->secret);
    free(trigger->header);
    mp_stream_lines_free(trigger->lines);
    mp_keys_free(&mp_function_table, "trigger", trigger);
}

void mp_function_unref(struct mp_function *fn)
{
    if (!fn || --fn->refs)
        return;
    for (unsigned i = 0; i < fn->n_triggers; i++)
        trigger_fini(&fn->triggers[i]);
    free(fn->triggers);
    for (size_t i = 0; i < mp_function_table.n_sections; i++) {
        const char *section = mp_function_table.sections[i].name;

        if (strcmp(section, "trigger") != 0)
            mp_keys_free(&mp_function_table, section, fn);
    }
    free(fn->grants);
    free(fn->sends);
    free(fn->secrets);
    free(fn->env);
    free(fn->files);
    free(fn->path);
    free(fn->conf);
    free(fn);
}

const struct mp_trigger *mp_function_trigger(const struct mp_function *fn,
                                             struct mp_slice name)
{
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        if (mp_slice_is(name, fn->triggers[i].name))
            return &fn->triggers[i];
    }
    return NULL;
}

const char *mp_method_name(enum mp_method method)
{
    static const char *const names[MP_METHODS] = {
        "GET", "POST", "PUT", "DELETE", "PATCH", "FETCH", "iPATCH", "HEAD"};

    return method < MP_METHODS ? names[method] : "?";
}

bool mp_function_may_publish(const struct mp_function *fn,
                             struct mp_slice topic, struct mp_slice prefix)
{
    if (!topic.len || topic.ptr[0] == '$')
        return false;
    if (prefix.len && topic.len >= prefix.len &&
        memcmp(topic.ptr, prefix.ptr, prefix.len) == 0 &&
        (topic.len == prefix.len || topic.ptr[prefix.len] == '/'))
        return false;
    for (unsigned i = 0; i < fn->n_grants; i++) {
        if (mp_filter_match(fn->grants[i], topic))
            return true;
    }
    return false;
}

bool mp_function_may_send(const struct mp_function *fn, struct mp_slice name)
{
    if (mp_slice_is(name, fn->name))
        return true;
    for (unsigned i = 0; i < fn->n_sends; i++)
        if (mp_slice_eq(fn->sends[i], name))
            return true;
    return false;
}

static const struct mp_pair *find_param(const struct mp_pair *params,
                                        uint32_t n, struct mp_slice name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mp_slice_eq(params[i].name, name))
            return &params[i];
    }
    return NULL;
}

int mp_function_key(const struct mp_function *fn, const struct mp_pair *params,
                    uint32_t n_params, char *key)
{
    struct mp_slice rest = mp_slice_str(fn->state_key);
    size_t len = 0;

    while (rest.len) {
        struct mp_slice piece = mp_slice(rest.ptr, 1);
        size_t used = 1;

        if (rest.ptr[0] == '{') {
            const char *end = memchr(rest.ptr, '}', rest.len);
            const struct mp_pair *param;

            MP_ASSERT(end); /* the template was checked when it was read */
            used = (size_t)(end - rest.ptr) + 1;
            param =
                find_param(params, n_params, mp_slice(rest.ptr + 1, used - 2));
            if (!param)
                return MP_ENONE;
            piece = param->value;
        }
        if (piece.len > MP_KEY_MAX - len)
            return MP_ERANGE;
        memcpy(key + len, piece.ptr, piece.len);
        len += piece.len;
        rest = mp_slice(rest.ptr + used, rest.len - used);
    }
    return len ? (int)len : MP_ERANGE;
}
