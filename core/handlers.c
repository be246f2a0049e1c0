/*
 * handlers.c - the table of handlers against the list of triggers.
 *
 * A trigger without a handler would fail with each event, and a handler
 * without a trigger would never run; both are most often one misspelt name,
 * and both are known as soon as the file has run once.
 */
#include "core/handlers.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"

/* What a worker says goes to a terminal: without control bytes. */
static void put_plain(struct mp_buf *b, struct mp_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        mp_buf_put(b, c < 0x20 || c == 0x7f ? " " : &text.ptr[i], 1);
    }
}

/* The path of one of the function's files, for messages. */
static void file_path(const struct mp_function *fn, struct mp_slice file,
                      char path[PATH_MAX])
{
    size_t len = strlen(fn->path);

    if (len > 4 && strcmp(fn->path + len - 4, ".lua") == 0)
        snprintf(path, PATH_MAX, "%s", fn->path);
    else
        snprintf(path, PATH_MAX, "%s/%.*s", fn->path, MP_FMT(file));
}

/* Lua's "main.lua:6: what" becomes a mistake in that file and line. */
static void tell_error(const struct mp_function *fn,
                       const struct mp_loaded *loaded, struct mp_report *report)
{
    struct mp_slice text = loaded->error, file = MP_S("main.lua");
    struct mp_buf plain;
    char path[PATH_MAX];
    unsigned line = 0;

    for (unsigned i = 0; i < fn->n_files; i++) {
        size_t len = fn->files[i].name.len, at = len + 1;
        unsigned n = 0;

        if (text.len < len + 4 || text.ptr[len] != ':' ||
            memcmp(text.ptr, fn->files[i].name.ptr, len) != 0)
            continue;
        while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9' &&
               n < 10000000)
            n = n * 10 + (unsigned)(text.ptr[at++] - '0');
        if (at + 2 > text.len || memcmp(text.ptr + at, ": ", 2) != 0)
            continue;
        file = fn->files[i].name;
        line = n;
        text = mp_slice(text.ptr + at + 2, text.len - at - 2);
        break;
    }
    file_path(fn, file, path);
    mp_buf_init(&plain, MP_ERROR_MAX);
    put_plain(&plain, text);
    mp_report_mistake(report, path, line, "%.*s", MP_FMT(mp_buf_bytes(&plain)));
    mp_buf_fini(&plain);
}

static bool has_handler(const struct mp_loaded *loaded, struct mp_slice name)
{
    for (uint32_t i = 0; i < loaded->n_handlers; i++) {
        if (mp_slice_eq(loaded->handlers[i], name))
            return true;
    }
    return false;
}

/* "readings, daily", or "nothing". */
static void list_handlers(const struct mp_loaded *loaded, struct mp_buf *list)
{
    for (uint32_t i = 0; i < loaded->n_handlers; i++) {
        mp_buf_put(list, ", ", i ? 2 : 0);
        put_plain(list, loaded->handlers[i]);
    }
    if (!loaded->n_handlers)
        mp_buf_printf(list, "nothing");
}

/*
 * Most often a section was forgotten.  Who writes a handler for sends, keeps
 * state or has triggers knows what runs the function.
 */
static void check_reached(const struct mp_function *fn,
                          const struct mp_loaded *loaded,
                          struct mp_report *report)
{
    char path[PATH_MAX];

    if (fn->n_triggers || fn->has_state || loaded->n_handlers)
        return;
    file_path(fn, MP_S("function.conf"), path);
    mp_report_warning(report, path, 0,
                      "no [trigger]: only what is sent to it (mp.send, "
                      "moonpool send) runs this function");
}

/* A handler that no event will ever reach. */
static void tell_stray(const struct mp_function *fn, struct mp_slice name,
                       const char *path, struct mp_report *report)
{
    const char *words[MP_TRIGGERS_MAX], *near;
    struct mp_buf plain;

    for (unsigned i = 0; i < fn->n_triggers; i++)
        words[i] = fn->triggers[i].name;
    near = mp_nearest(name, words, fn->n_triggers);
    mp_buf_init(&plain, 2 * MP_TRIGGER_MAX);
    put_plain(&plain, name);
    mp_report_mistake(report, path, 0, "handler '%.*s' names no trigger%s%s%s",
                      MP_FMT(mp_buf_bytes(&plain)),
                      near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
    mp_buf_fini(&plain);
}

void mp_handlers_check(const struct mp_function *fn,
                       const struct mp_loaded *loaded, struct mp_report *report)
{
    struct mp_buf list;
    char path[PATH_MAX];

    if (loaded->kind != MP_OUT_OK) {
        tell_error(fn, loaded, report);
        return;
    }
    check_reached(fn, loaded, report);
    if (loaded->single)
        return;
    mp_buf_init(&list, MP_TRIGGERS_MAX * (MP_TRIGGER_MAX + 2));
    list_handlers(loaded, &list);
    file_path(fn, MP_S("main.lua"), path);
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        if (!has_handler(loaded, mp_slice_str(fn->triggers[i].name)))
            mp_report_mistake(report, path, 0,
                              "no handler for trigger '%s'; the table has: "
                              "%.*s",
                              fn->triggers[i].name,
                              MP_FMT(mp_buf_bytes(&list)));
    }
    for (uint32_t i = 0; i < loaded->n_handlers; i++) {
        struct mp_slice name = loaded->handlers[i];

        if (!mp_slice_is(name, "alarm") && !mp_slice_is(name, "send") &&
            !mp_function_trigger(fn, name))
            tell_stray(fn, name, path, report);
    }
    mp_buf_fini(&list);
}
