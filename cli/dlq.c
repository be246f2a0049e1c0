/*
 * dlq.c - `moonpool dlq`: what was given up, looked at, tried again, dropped.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/listing.h"
#include "cli/show.h"
#include "cli/verbs.h"
#include "core/base/text.h"
#include "core/request.h"

enum { WORDS_MAX = 65 }; /* what to do, a function and ids */

struct dlq {
    struct mp_client *c;
    struct mp_client_flags flags;
    bool all;
    const char *function; /* NULL: any */
    const char *ids[WORDS_MAX];
    unsigned n_ids;
    struct mp_grid grid;
    /* groups of the list: a letter of each, and how many are there */
    struct group {
        char *name;
        uint64_t listed, count;
    } * groups;
    size_t n_groups;
};

/* ---- ls ---- */

static void count_group(struct dlq *d, const struct mp_tree *row)
{
    struct mp_buf name;
    size_t i;

    mp_buf_init(&name, 8192);
    mp_buf_printf(&name, "%.*s %.*s, %.*s at ",
                  MP_FMT(mp_listing_text(row, "function")),
                  MP_FMT(mp_listing_text(row, "version")),
                  MP_FMT(mp_listing_text(row, "outcome")));
    mp_show_clean(mp_listing_text(row, "site"), &name);
    mp_buf_put(&name, "", 1);
    for (i = 0; i < d->n_groups; i++) {
        if (strcmp(d->groups[i].name, name.ptr) == 0)
            break;
    }
    if (i == d->n_groups) {
        d->groups = mp_realloc(d->groups, ++d->n_groups * sizeof *d->groups);
        d->groups[i] = (struct group){mp_strndup(name.ptr, name.len), 0, 0};
    }
    d->groups[i].listed++;
    d->groups[i].count = (uint64_t)mp_listing_int(row, "count");
    mp_buf_fini(&name);
}

static void list_one(void *arg, const struct mp_tree *row)
{
    struct dlq *d = arg;
    struct mp_slice topic = mp_listing_text(row, "topic");
    char age[MP_AGE_TEXT];

    if (d->flags.json) {
        mp_listing_json(row);
        return;
    }
    mp_age_text(mp_listing_text(row, "time"), age);
    mp_grid_printf(&d->grid, "%lld", mp_listing_int(row, "id"));
    mp_grid_put(&d->grid, mp_listing_text(row, "function"));
    mp_grid_put(&d->grid, mp_slice_str(age));
    mp_grid_put(&d->grid, mp_listing_text(row, "outcome"));
    mp_grid_put(&d->grid, topic.len ? topic : mp_listing_text(row, "trigger"));
    mp_grid_put(&d->grid, mp_listing_text(row, "error"));
    count_group(d, row);
}

static int list(struct dlq *d)
{
    static const char *const titles[] = {"ID",    "FUNCTION", "WHEN", "OUTCOME",
                                         "EVENT", "ERROR",    NULL};
    char target[128];
    int status;

    snprintf(target, sizeof target, "/v1/dead-letters%s%.64s",
             d->function ? "?function=" : "", d->function ? d->function : "");
    mp_grid_init(&d->grid, titles);
    status = mp_listing_each(d->c, target, "dead_letters", list_one, d);
    if (!status && !d->flags.json && d->grid.at == d->grid.columns)
        fprintf(stderr, "no dead letters%s%s\n", d->function ? " of " : "",
                d->function ? d->function : "");
    mp_grid_print(&d->grid, stdout);
    for (size_t i = 0; i < d->n_groups; i++) {
        struct group *g = &d->groups[i];

        if (g->count > g->listed)
            fprintf(stderr, "%llu more of %s were only counted\n",
                    (unsigned long long)(g->count - g->listed), g->name);
        free(g->name);
    }
    free(d->groups);
    return status;
}

/* ---- show ---- */

static void line(const char *name, struct mp_slice text)
{
    struct mp_slice part;
    struct mp_buf b;

    mp_buf_init(&b, 16 << 20);
    while (text.len && mp_split(&text, '\n', &part)) {
        mp_buf_printf(&b, "%-9s ", name);
        mp_show_clean(part, &b);
        mp_buf_put(&b, "\n", 1);
        name = "";
    }
    if (b.len)
        fwrite(b.ptr, 1, b.len, stdout);
    mp_buf_fini(&b);
}

static void line_of(const char *name, const struct mp_tree *v)
{
    struct mp_buf b;

    if (!v || v->kind == MP_TREE_NULL || (v->kind == MP_TREE_OBJECT && !v->n))
        return;
    mp_buf_init(&b, 16 << 20);
    if (v->kind == MP_TREE_STRING)
        mp_buf_slice(&b, v->text);
    else
        mp_tree_print(v, &b);
    line(name, mp_buf_bytes(&b));
    mp_buf_fini(&b);
}

static void show_text(const struct mp_tree *letter)
{
    static const char *const members[] = {
        "id",     "type",   "trigger",    "topic",       "key",
        "params", "source", "properties", "data_base64", "data",
    };
    const struct mp_tree *event = mp_tree_get(letter, "event");
    char age[MP_AGE_TEXT], text[64];

    mp_age_text(mp_listing_text(letter, "time"), age);
    printf("dead letter %lld of %.*s %.*s, %s\n", mp_listing_int(letter, "id"),
           MP_FMT(mp_listing_text(letter, "function")),
           MP_FMT(mp_listing_text(letter, "version")), age);
    snprintf(text, sizeof text, "%.*s, attempt %lld",
             MP_FMT(mp_cut(mp_listing_text(letter, "outcome"), 20)),
             mp_listing_int(letter, "attempt"));
    line("outcome", mp_slice_str(text));
    line("error", mp_listing_text(letter, "error"));
    line("", mp_listing_text(letter, "traceback"));
    mp_age_text(mp_listing_text(event, "time"), age);
    snprintf(text, sizeof text, "%.*s (%s)",
             MP_FMT(mp_cut(mp_listing_text(event, "time"), 24)), age);
    line("came", mp_slice_str(text));
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        line_of(members[i], mp_tree_get(event, members[i]));
}

/* The letter of that id, and of the function if one was named. */
static int get(struct dlq *d, const char *id, struct mp_tree_doc *doc)
{
    char target[64];
    struct mp_buf reply;
    struct mp_why why;
    int status;

    snprintf(target, sizeof target, "/v1/dead-letters/%.24s", id);
    status = mp_client_ask(d->c, "GET", target, (struct mp_slice){0}, &reply);
    if (status)
        return status;
    if (mp_tree_parse(doc, mp_buf_bytes(&reply), &why)) {
        fprintf(stderr, "moonpool dlq: %s\n", why.text);
        status = MP_EXIT_NO_HOST;
    } else if (d->function &&
               !mp_slice_is(mp_listing_text(doc->root, "function"),
                            d->function)) {
        fprintf(stderr, "moonpool dlq: dead letter %s is one of '%.*s'\n", id,
                MP_FMT(mp_listing_text(doc->root, "function")));
        mp_tree_fini(doc);
        status = MP_EXIT_NO;
    }
    mp_buf_fini(&reply);
    return status;
}

static int show(struct dlq *d)
{
    int status = MP_EXIT_DONE;

    for (unsigned i = 0; !status && i < d->n_ids; i++) {
        struct mp_tree_doc doc;

        status = get(d, d->ids[i], &doc);
        if (status)
            break;
        if (d->flags.json)
            mp_listing_json(mp_tree_get(doc.root, "event"));
        else
            show_text(doc.root);
        mp_tree_fini(&doc);
    }
    return status;
}

/* ---- replay, drop ---- */

static int change(struct dlq *d, bool replay)
{
    const char *method = replay ? "POST" : "DELETE";
    const char *what = replay ? "/replay" : "";
    long long count = 0;
    char target[128];
    int status = MP_EXIT_DONE;

    if (d->all) {
        snprintf(target, sizeof target, "/v1/dead-letters%s%s%.64s", what,
                 d->function ? "?function=" : "",
                 d->function ? d->function : "");
        status = mp_listing_change(d->c, method, target, &count);
    }
    for (unsigned i = 0; !status && i < d->n_ids; i++) {
        struct mp_tree_doc doc;

        if (d->function) {
            status = get(d, d->ids[i], &doc);
            if (status)
                break;
            mp_tree_fini(&doc);
        }
        snprintf(target, sizeof target, "/v1/dead-letters/%.24s%s", d->ids[i],
                 what);
        status = mp_listing_change(d->c, method, target, &count);
    }
    if (d->flags.json)
        printf("{\"count\":%lld}\n", count);
    else if (!status || count)
        fprintf(stderr, "%lld %s\n", count, replay ? "replayed" : "dropped");
    return status;
}

/* ---- the verb ---- */

static int usage_error(const char *text)
{
    fprintf(stderr, "moonpool dlq: %s; moonpool dlq --help says more\n", text);
    return MP_EXIT_USAGE;
}

static int take_words(struct dlq *d, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (isdigit((unsigned char)words[i][0]))
            d->ids[d->n_ids++] = words[i];
        else if (d->function)
            return usage_error("one function at a time");
        else
            d->function = words[i];
    }
    return MP_EXIT_DONE;
}

static int run(struct dlq *d, const char *what)
{
    if (strcmp(what, "ls") == 0)
        return list(d);
    if (strcmp(what, "show") == 0)
        return show(d);
    return change(d, strcmp(what, "replay") == 0);
}

static int check_words(const struct dlq *d, const char *what)
{
    static const char *const known[] = {"ls", "show", "replay", "drop"};
    size_t i = 0;

    while (i < ARRAY_LEN(known) && strcmp(what, known[i]) != 0)
        i++;
    if (i == ARRAY_LEN(known))
        return usage_error("it is one of ls, show, replay, drop");
    if (i == 0)
        return d->n_ids ? usage_error("ls takes a function; show takes an id")
                        : MP_EXIT_DONE;
    if (i == 1)
        return d->n_ids ? MP_EXIT_DONE : usage_error("show which? give its ID");
    if (!d->n_ids && !d->all)
        return usage_error("which? give an ID, or --all");
    if (d->n_ids && d->all)
        return usage_error("an ID, or --all");
    return MP_EXIT_DONE;
}

int mp_verb_dlq(int argc, char **argv)
{
    struct dlq d = {.function = NULL};
    const struct mp_flag flags[] = {
        {.name = "all",
         .help = "replay, drop: every one, of FUNCTION if one is named",
         .on = &d.all},
        MP_CLIENT_FLAGS(&d.flags),
    };
    const struct mp_usage usage = {
        .verb = "moonpool dlq",
        .operands = "ls|show|replay|drop [FUNCTION] [ID...|--all]",
        .about =
            "Dead letters: events that were given up.\n"
            "ls lists them, show prints one (with --json its event, as a step "
            "of a test\nand for invoke --event -), replay runs it again as a "
            "new event, drop forgets it.\nLetters of one function, version, "
            "outcome and place in the code are a group: its\nfirst 10 and the "
            "last one are kept, the rest is counted.\nWithout a running host "
            "the database "
            "is asked; what is replayed runs when one starts.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = WORDS_MAX,
    };
    const char *words[WORDS_MAX];
    int status, n = mp_flags_parse(&usage, argc, argv, words, &status);

    if (n < 0)
        return status;
    status = take_words(&d, words + 1, n - 1);
    if (!status)
        status = check_words(&d, words[0]);
    if (!status)
        status = mp_client_open(&d.c, usage.verb, &d.flags, true);
    if (status)
        return status;
    status = run(&d, words[0]);
    mp_client_close(d.c);
    return status;
}
