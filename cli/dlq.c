/*
 * dlq.c - `moonpool dlq`: what was given up, looked at, tried again, dropped.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/listing.h"
#include "cli/show.h"
#include "cli/verbs.h"
#include "core/base/text.h"
#include "core/request.h"

struct dlq {
    struct mp_choice ch;
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

    if (d->ch.flags.json) {
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
    int status;

    mp_grid_init(&d->grid, titles);
    status = mp_choice_each(&d->ch, d->ch.path, "dead_letters", list_one, d);
    if (!status && !d->ch.flags.json && mp_grid_empty(&d->grid))
        fprintf(stderr, "no dead letters%s%s\n", d->ch.function ? " of " : "",
                d->ch.function ? d->ch.function : "");
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
    struct mp_buf target, reply;
    struct mp_why why;
    int status;

    mp_buf_init(&target, MP_TARGET_MAX);
    mp_buf_printf(&target, "/v1/dead-letters/");
    mp_request_put(&target, mp_slice_str(id));
    status =
        mp_client_ask_at(d->ch.c, "GET", &target, (struct mp_slice){0}, &reply);
    mp_buf_fini(&target);
    if (status)
        return status;
    if (mp_tree_parse(doc, mp_buf_bytes(&reply), &why)) {
        fprintf(stderr, "moonpool dlq: %s\n", why.text);
        status = MP_EXIT_NO_HOST;
    } else if (d->ch.function &&
               !mp_slice_is(mp_listing_text(doc->root, "function"),
                            d->ch.function)) {
        fprintf(stderr,
                "moonpool dlq: dead letter %s is of '%.*s', not of '%s'\n", id,
                MP_FMT(mp_listing_text(doc->root, "function")), d->ch.function);
        mp_tree_fini(doc);
        status = MP_EXIT_NO;
    }
    mp_buf_fini(&reply);
    return status;
}

static int show(struct dlq *d)
{
    int status = MP_EXIT_DONE;

    for (unsigned i = 0; !status && i < d->ch.n_ids; i++) {
        struct mp_tree_doc doc;

        status = get(d, d->ch.ids[i], &doc);
        if (status)
            break;
        if (d->ch.flags.json)
            mp_listing_json(mp_tree_get(doc.root, "event"));
        else
            show_text(doc.root);
        mp_tree_fini(&doc);
    }
    return status;
}

/* ---- replay, drop ---- */

/* With a function named, a letter of another one is left alone. */
static int change_one(struct dlq *d, const char *id, bool replay,
                      long long *count)
{
    struct mp_tree_doc doc;
    int status = d->ch.function ? get(d, id, &doc) : MP_EXIT_DONE;

    if (status)
        return status;
    if (d->ch.function)
        mp_tree_fini(&doc);
    return mp_choice_change_one(&d->ch, replay ? "POST" : "DELETE", id,
                                replay ? "/replay" : "", count);
}

static int change(struct dlq *d, bool replay)
{
    long long count = 0;
    int status = MP_EXIT_DONE;

    if (d->ch.all)
        status = mp_choice_change_all(&d->ch, replay ? "POST" : "DELETE",
                                      replay ? "/replay" : "", &count);
    for (unsigned i = 0; !status && i < d->ch.n_ids; i++)
        status = change_one(d, d->ch.ids[i], replay, &count);
    mp_listing_count(&d->ch.flags, status, count,
                     replay ? "replayed" : "dropped");
    return status;
}

/* ---- the verb ---- */

static int run(struct dlq *d, const char *what)
{
    if (strcmp(what, "ls") == 0)
        return list(d);
    if (strcmp(what, "show") == 0)
        return show(d);
    return change(d, strcmp(what, "replay") == 0);
}

static int check_words(const struct mp_choice *ch, const char *what)
{
    static const char *const known[] = {"ls", "show", "replay", "drop"};
    size_t i = 0;

    while (i < ARRAY_LEN(known) && strcmp(what, known[i]) != 0)
        i++;
    if (i == ARRAY_LEN(known))
        return mp_choice_error(ch, "it is one of ls, show, replay, drop");
    if (i <= 1 && ch->all)
        return mp_choice_error(ch, "--all is for replay and drop");
    if (i == 0)
        return ch->n_ids ? mp_choice_error(
                               ch, "ls takes a function; show takes an ID")
                         : MP_EXIT_DONE;
    if (i == 1)
        return ch->n_ids ? MP_EXIT_DONE
                         : mp_choice_error(ch, "show which? give its ID");
    if (!ch->n_ids && !ch->all)
        return mp_choice_error(ch, "which? give IDs, or --all");
    if (ch->n_ids && ch->all)
        return mp_choice_error(ch, "IDs, or --all");
    return MP_EXIT_DONE;
}

int mp_verb_dlq(int argc, char **argv)
{
    struct dlq d = {.ch = {.verb = "moonpool dlq", .path = "dead-letters"}};
    const struct mp_flag flags[] = {
        {.name = "all",
         .help = "replay, drop: every one, of FUNCTION if one is named",
         .on = &d.ch.all},
        MP_CLIENT_FLAGS(&d.ch.flags),
    };
    const struct mp_usage usage = {
        .verb = d.ch.verb,
        .operands = "ls|show|replay|drop [FUNCTION] [ID...|--all]",
        .about =
            "Dead letters: events that were given up.\n\n"
            "  ls [FUNCTION]               what there is\n"
            "  show ID...                  all of a letter; with --json its "
            "event, as a step\n                              of a test and "
            "for invoke --event -\n"
            "  replay ID...                runs it again, as a new event\n"
            "  drop ID...                  forgets it\n"
            "  replay|drop [FUNCTION] --all    every one\n\n"
            "Letters of one function, version, outcome and place in the code "
            "are a group: its\nfirst 10 and the last one are kept, the rest "
            "is counted.\nWithout a running host the database is asked; what "
            "is replayed runs when one\nstarts.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = MP_CHOICE_WORDS,
    };
    const char *words[MP_CHOICE_WORDS];
    int status, n = mp_flags_parse(&usage, argc, argv, words, &status);

    if (n < 0)
        return status;
    status = mp_choice_take(&d.ch, words + 1, n - 1);
    if (!status)
        status = check_words(&d.ch, words[0]);
    if (!status)
        status = mp_client_open(&d.ch.c, d.ch.verb, &d.ch.flags, true);
    if (status)
        return status;
    status = run(&d, words[0]);
    mp_client_close(d.ch.c);
    return status;
}
