/*
 * state.c - `moonpool state`: what functions keep, looked at and changed.
 *
 * A dump is one JSON object, {KEY:{NAME:VALUE}}; the function's own actor is
 * the key "".  Restoring puts each value back, one after the other, and
 * leaves alone what the dump doesn't name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/listing.h"
#include "cli/show.h"
#include "cli/verbs.h"
#include "core/base/file.h"
#include "core/base/text.h"
#include "core/request.h"

enum {
    DUMP_MAX = 512 << 20, /* past any quota of state */
};

struct state {
    struct mp_client *c;
    struct mp_client_flags flags;
    const char *key; /* NULL: not given */
    bool all;
    const char *prefix;
    const char *function, *name, *value;
    struct mp_grid grid;
    struct mp_buf dump;
    bool first;
    char **actors; /* of a dump */
    size_t n_actors;
};

/* /v1/functions/F/WHAT[/NAME]?key=KEY */
static void put_target(struct mp_buf *to, const struct state *s,
                       const char *what, const struct mp_slice *name,
                       struct mp_slice key)
{
    mp_buf_init(to, MP_TARGET_MAX);
    mp_buf_printf(to, "/v1/functions/");
    mp_request_put(to, mp_slice_str(s->function));
    mp_buf_printf(to, "/%s", what);
    if (name) {
        mp_buf_printf(to, "/");
        mp_request_put(to, *name);
    }
    mp_buf_printf(to, "?prefix=");
    mp_request_put(to, mp_slice_str(s->prefix ? s->prefix : ""));
    if (key.ptr) {
        mp_buf_printf(to, "&key=");
        mp_request_put(to, key);
    }
}

static int each(struct state *s, const char *what, const char *list,
                struct mp_slice key,
                void (*row)(void *arg, const struct mp_tree *row))
{
    struct mp_buf target;
    int status;

    put_target(&target, s, what, NULL, key);
    status = mp_listing_each(s->c, &target, list, row, s);
    mp_buf_fini(&target);
    return status;
}

/* ---- actors, ls ---- */

static void actor_line(void *arg, const struct mp_tree *row)
{
    struct state *s = arg;
    struct mp_buf b;

    if (s->flags.json) {
        mp_listing_json(row);
        return;
    }
    mp_buf_init(&b, 4096);
    mp_show_clean(mp_tree_text(row), &b);
    printf("%.*s\n", MP_FMT(mp_buf_bytes(&b)));
    mp_buf_fini(&b);
}

static void value_line(void *arg, const struct mp_tree *row)
{
    struct state *s = arg;
    const struct mp_tree *value = mp_tree_get(row, "value");
    const struct mp_tree *expires = mp_tree_get(row, "expires_in");
    char span[MP_AGE_TEXT] = "";
    struct mp_buf b;

    if (s->flags.json) {
        mp_listing_json(row);
        return;
    }
    mp_buf_init(&b, 1 << 20);
    mp_tree_print(value, &b);
    if (expires && expires->kind != MP_TREE_NULL)
        mp_span_text(expires->real, span);
    mp_grid_put(&s->grid, mp_listing_text(row, "name"));
    mp_grid_put(&s->grid, mp_listing_text(row, "kind"));
    mp_grid_printf(&s->grid, "%s%s", *span ? "in " : "never", span);
    mp_grid_put(&s->grid, mp_buf_bytes(&b));
    mp_buf_fini(&b);
}

static int list(struct state *s)
{
    static const char *const titles[] = {"NAME", "KIND", "EXPIRES", "VALUE",
                                         NULL};
    int status;

    mp_grid_init(&s->grid, titles);
    status = each(s, "state", "values", mp_slice_str(s->key), value_line);
    if (!status && !s->flags.json && mp_grid_empty(&s->grid))
        fprintf(stderr, "%s has no values%s%s\n", s->function,
                s->key ? " for the key "
                       : " of its own (--key KEY: of an "
                         "actor)",
                s->key ? s->key : "");
    mp_grid_print(&s->grid, stdout);
    return status;
}

/* ---- get, set, rm ---- */

static int one(struct state *s, const char *method, struct mp_slice name,
               struct mp_slice key, struct mp_slice body, struct mp_buf *reply)
{
    struct mp_buf target;
    int status;

    put_target(&target, s, "state", &name, key);
    status = mp_client_ask_at(s->c, method, &target, body, reply);
    mp_buf_fini(&target);
    return status;
}

static int get(struct state *s)
{
    struct mp_tree_doc doc;
    struct mp_buf reply;
    struct mp_why why;
    int status = one(s, "GET", mp_slice_str(s->name), mp_slice_str(s->key),
                     (struct mp_slice){0}, &reply);

    if (status)
        return status;
    if (mp_tree_parse(&doc, mp_buf_bytes(&reply), &why)) {
        fprintf(stderr, "moonpool state: %s\n", why.text);
        status = MP_EXIT_NO_HOST;
    } else {
        mp_listing_json(s->flags.json ? doc.root
                                      : mp_tree_get(doc.root, "value"));
        mp_tree_fini(&doc);
    }
    mp_buf_fini(&reply);
    return status;
}

static int set(struct state *s, bool remove)
{
    struct mp_slice body = remove ? mp_slice(NULL, 0) : mp_slice_str(s->value);
    struct mp_buf reply;
    int status = one(s, remove ? "DELETE" : "PUT", mp_slice_str(s->name),
                     mp_slice_str(s->key), body, &reply);

    if (!status)
        mp_buf_fini(&reply);
    return status;
}

/* All of an actor, or of the function with its actors. */
static int clear(struct state *s)
{
    struct mp_buf target;
    long long count = 0;
    int status;

    put_target(&target, s, "state", NULL, mp_slice_str(s->key));
    status = mp_listing_change(s->c, "DELETE", &target, &count);
    mp_buf_fini(&target);
    mp_listing_count(&s->flags, status, count, "removed");
    return status;
}

/* JSON is what is kept; a word that is none was probably meant as a string,
 * but may be a typing error: say how it is written. */
static int check_value(const struct state *s)
{
    struct mp_tree_doc doc;
    struct mp_why why;
    bool is_null;

    if (mp_tree_parse(&doc, mp_slice_str(s->value), &why)) {
        fprintf(stderr,
                "moonpool state: %s is no JSON: %s; a string is written "
                "'\"%s\"'\n",
                s->value, why.text, s->value);
        return MP_EXIT_USAGE;
    }
    is_null = doc.root->kind == MP_TREE_NULL;
    mp_tree_fini(&doc);
    if (is_null)
        fprintf(stderr, "moonpool state: null is no value; moonpool state rm "
                        "removes one\n");
    return is_null ? MP_EXIT_USAGE : MP_EXIT_DONE;
}

/* ---- dump ---- */

static void dump_value(void *arg, const struct mp_tree *row)
{
    struct state *s = arg;

    mp_buf_printf(&s->dump, s->first ? "\n    " : ",\n    ");
    s->first = false;
    mp_json_put_string(&s->dump, mp_listing_text(row, "name"));
    mp_buf_printf(&s->dump, ": ");
    mp_tree_print(mp_tree_get(row, "value"), &s->dump);
}

static void keep_actor(void *arg, const struct mp_tree *row)
{
    struct state *s = arg;
    struct mp_slice key = mp_tree_text(row);

    s->actors = mp_realloc(s->actors, (s->n_actors + 1) * sizeof *s->actors);
    s->actors[s->n_actors++] = mp_strndup(key.ptr, key.len);
}

static int dump_actor(struct state *s, const char *key, bool *any)
{
    size_t mark = s->dump.len;
    int status;

    s->first = true;
    mp_buf_printf(&s->dump, *any ? ",\n  " : "\n  ");
    mp_json_put_string(&s->dump, mp_slice_str(key));
    mp_buf_printf(&s->dump, ": {");
    status = each(s, "state", "values", mp_slice_str(key), dump_value);
    mp_buf_printf(&s->dump, "\n  }");
    if (s->first)
        s->dump.len = mark; /* it has no values, or none any more */
    else
        *any = true;
    return status;
}

static int dump(struct state *s)
{
    bool any = false;
    int status;

    mp_buf_init(&s->dump, DUMP_MAX);
    mp_buf_printf(&s->dump, "{");
    status = dump_actor(s, s->key ? s->key : "", &any);
    if (!status && !s->key)
        status = each(s, "actors", "actors", (struct mp_slice){0}, keep_actor);
    for (size_t i = 0; i < s->n_actors; i++) {
        if (!status)
            status = dump_actor(s, s->actors[i], &any);
        free(s->actors[i]);
    }
    free(s->actors);
    mp_buf_printf(&s->dump, any ? "\n}\n" : "}\n");
    if (!status && s->dump.full) {
        fprintf(stderr, "moonpool state: the dump is too long\n");
        status = MP_EXIT_NO;
    }
    if (!status)
        fwrite(s->dump.ptr, 1, s->dump.len, stdout);
    mp_buf_fini(&s->dump);
    return status;
}

/* ---- restore ---- */

static int read_dump(struct state *s, struct mp_tree_doc *doc)
{
    bool is_stdin = !s->name || strcmp(s->name, "-") == 0, unnamed;
    struct mp_buf text;
    struct mp_why why;
    int rc;

    mp_buf_init(&text, DUMP_MAX);
    rc = is_stdin ? mp_file_read_fd(0, DUMP_MAX - 1, &text, &why)
                  : mp_file_read(AT_FDCWD, s->name, DUMP_MAX - 1, &text, &why);
    unnamed = !rc || rc == MP_ERANGE; /* else the sentence has the name */
    if (!rc)
        rc = mp_tree_parse(doc, mp_buf_bytes(&text), &why);
    mp_buf_fini(&text);
    if (rc) {
        if (is_stdin || unnamed)
            mp_why_wrap(&why, "%s", is_stdin ? "stdin" : s->name);
        fprintf(stderr, "moonpool state: %s\n", why.text);
        return MP_EXIT_NO;
    }
    for (size_t i = 0; !rc && i < doc->root->n; i++)
        rc = doc->root->items[i]->kind != MP_TREE_OBJECT;
    if (rc || doc->root->kind != MP_TREE_OBJECT) {
        fprintf(stderr, "moonpool state: a dump is {KEY: {NAME: VALUE}}\n");
        mp_tree_fini(doc);
        return MP_EXIT_NO;
    }
    return MP_EXIT_DONE;
}

static int restore_value(struct state *s, struct mp_slice key,
                         const struct mp_tree *value)
{
    struct mp_buf text, reply;
    int status;

    mp_buf_init(&text, MP_BODY_MAX);
    mp_tree_print(value, &text);
    status = one(s, "PUT", value->name, key, mp_buf_bytes(&text), &reply);
    if (!status)
        mp_buf_fini(&reply);
    mp_buf_fini(&text);
    return status;
}

static int restore(struct state *s)
{
    struct mp_tree_doc doc;
    size_t count = 0;
    int status = read_dump(s, &doc);

    if (status)
        return status;
    for (size_t i = 0; !status && i < doc.root->n; i++) {
        const struct mp_tree *actor = doc.root->items[i];

        if (s->key && !mp_slice_is(actor->name, s->key))
            continue;
        for (size_t j = 0; !status && j < actor->n; j++) {
            status = restore_value(s, actor->name, actor->items[j]);
            count += !status;
        }
    }
    fprintf(stderr, "%zu values restored\n", count);
    mp_tree_fini(&doc);
    return status;
}

/* ---- the verb ---- */

static const struct action {
    const char *name;
    int min, max; /* words behind it */
    const char *usage;
} actions[] = {
    {"actors", 1, 1, "actors FUNCTION"},
    {"ls", 1, 1, "ls FUNCTION"},
    {"get", 2, 2, "get FUNCTION NAME"},
    {"set", 3, 3, "set FUNCTION NAME VALUE"},
    {"rm", 1, 2, "rm FUNCTION NAME, or rm FUNCTION [--key KEY] --all"},
    {"dump", 1, 1, "dump FUNCTION"},
    {"restore", 1, 2, "restore FUNCTION [FILE]"},
};

static const struct action *find_action(const char *word, int n)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        const struct action *a = &actions[i];

        if (strcmp(word, a->name) != 0)
            continue;
        if (n >= a->min && n <= a->max)
            return a;
        fprintf(stderr, "moonpool state: %s; usage: moonpool state %s\n",
                n > a->max ? "one word too many"
                : n == 0   ? "FUNCTION is missing"
                : n == 1   ? "NAME is missing"
                           : "VALUE is missing",
                a->usage);
        return NULL;
    }
    fprintf(stderr,
            "moonpool state: '%s' is none of actors, ls, get, set, rm, dump, "
            "restore\n",
            word);
    return NULL;
}

static int run(struct state *s, const char *what)
{
    if (strcmp(what, "actors") == 0)
        return each(s, "actors", "actors", (struct mp_slice){0}, actor_line);
    if (strcmp(what, "ls") == 0)
        return list(s);
    if (strcmp(what, "get") == 0)
        return get(s);
    if (strcmp(what, "dump") == 0)
        return dump(s);
    if (strcmp(what, "restore") == 0)
        return restore(s);
    return s->all ? clear(s) : set(s, strcmp(what, "rm") == 0);
}

/* --all is what else could be named; a --prefix that is not heeded would
 * remove more than was meant. */
static int check_flags(const struct state *s, const char *what)
{
    bool is_rm = strcmp(what, "rm") == 0;
    bool lists = strcmp(what, "actors") == 0 || strcmp(what, "ls") == 0;

    if (s->prefix && !lists)
        fprintf(stderr, "moonpool state: --prefix is for actors and ls\n");
    else if (s->all && !is_rm)
        fprintf(stderr, "moonpool state: --all is for rm\n");
    else if (s->all && s->name)
        fprintf(stderr, "moonpool state: rm: a NAME, or --all\n");
    else if (is_rm && !s->all && !s->name)
        fprintf(stderr, "moonpool state: rm which? give a NAME, or --all\n");
    else
        return MP_EXIT_DONE;
    return MP_EXIT_USAGE;
}

int mp_verb_state(int argc, char **argv)
{
    struct state s = {.key = NULL};
    const struct mp_flag flags[] = {
        {.name = "key",
         .arg = "KEY",
         .help = "of that actor; default: the function's own",
         .text = &s.key},
        {.name = "prefix",
         .arg = "TEXT",
         .help = "actors, ls: only what begins with it",
         .text = &s.prefix},
        {.name = "all",
         .help = "rm: every value, of KEY if it is given, else of the function "
                 "and all its actors",
         .on = &s.all},
        MP_CLIENT_FLAGS(&s.flags),
    };
    const struct mp_usage usage = {
        .verb = "moonpool state",
        .operands = "actors|ls|get|set|rm|dump|restore FUNCTION [NAME [VALUE]]",
        .about =
            "What a function keeps: its own values, and those of its actors "
            "(--key).\n\n"
            "  actors FUNCTION             keys that have values\n"
            "  ls FUNCTION                 values, with their names\n"
            "  get FUNCTION NAME           one of them, as JSON\n"
            "  set FUNCTION NAME VALUE     JSON: 3, true, '\"text\"', "
            "'{\"a\":1}'\n"
            "  rm FUNCTION NAME            or --all\n"
            "  dump FUNCTION               all of it as {KEY: {NAME: VALUE}}; "
            "of KEY only,\n                              if that is given\n"
            "  restore FUNCTION [FILE]     puts a dump back (default: from "
            "stdin), without\n                              the times after "
            "which values expire;\n                              what it "
            "doesn't name stays\n\n"
            "Without a running host the database is asked.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = 4,
    };
    const char *words[4] = {NULL};
    int status, n = mp_flags_parse(&usage, argc, argv, words, &status);

    if (n < 0)
        return status;
    if (!find_action(words[0], n - 1))
        return MP_EXIT_USAGE;
    s.function = words[1];
    s.name = words[2];
    s.value = words[3];
    status = check_flags(&s, words[0]);
    if (!status && s.value)
        status = check_value(&s);
    if (!status)
        status = mp_client_open(&s.c, usage.verb, &s.flags, true);
    if (status)
        return status;
    status = run(&s, words[0]);
    mp_client_close(s.c);
    return status;
}
