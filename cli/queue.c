/*
 * queue.c - `moonpool queue`: events that the host has taken over and that
 * wait; and alarms, which will be events.
 */
#include <ctype.h>
#include <stdio.h>

#include "cli/listing.h"
#include "cli/verbs.h"
#include "core/request.h"

enum { WORDS_MAX = 65 };

struct queue {
    struct mp_client *c;
    struct mp_client_flags flags;
    bool all;
    const char *function;
    const char *ids[WORDS_MAX];
    unsigned n_ids;
    struct mp_grid grid;
};

static void list_one(void *arg, const struct mp_tree *row)
{
    struct queue *q = arg;
    const struct mp_tree *due = mp_tree_get(row, "due_in");
    struct mp_slice topic = mp_listing_text(row, "topic");
    struct mp_slice note = mp_listing_text(row, "note");
    char span[MP_AGE_TEXT];

    if (q->flags.json) {
        mp_listing_json(row);
        return;
    }
    mp_grid_printf(&q->grid, "%lld", mp_listing_int(row, "id"));
    mp_grid_put(&q->grid, mp_listing_text(row, "function"));
    mp_age_text(mp_listing_text(row, "event_time"), span);
    mp_grid_put(&q->grid, mp_slice_str(span));
    if (due && due->kind != MP_TREE_NULL && due->real > 0) {
        mp_span_text(due->real, span);
        mp_grid_printf(&q->grid, "in %s", span);
    } else {
        mp_grid_put(&q->grid, MP_S("now"));
    }
    mp_grid_printf(&q->grid, "%.*s%s%.*s",
                   MP_FMT(mp_listing_text(row, "reason")), note.len ? ", " : "",
                   MP_FMT(note));
    mp_grid_printf(&q->grid, "%lld", mp_listing_int(row, "attempt"));
    mp_grid_put(&q->grid, topic.len ? topic : mp_listing_text(row, "trigger"));
    mp_grid_put(&q->grid, mp_listing_text(row, "key"));
}

static void list_alarm(void *arg, const struct mp_tree *row)
{
    struct queue *q = arg;
    const struct mp_tree *due = mp_tree_get(row, "due_in");
    char span[MP_AGE_TEXT];

    if (q->flags.json) {
        mp_listing_json(row);
        return;
    }
    mp_grid_put(&q->grid, MP_S("-"));
    mp_grid_put(&q->grid, mp_listing_text(row, "function"));
    mp_grid_put(&q->grid, MP_S("-"));
    if (due && due->real > 0) {
        mp_span_text(due->real, span);
        mp_grid_printf(&q->grid, "in %s", span);
    } else {
        mp_age_text(mp_listing_text(row, "due"), span);
        mp_grid_put(&q->grid, mp_slice_str(span));
    }
    mp_grid_put(&q->grid, mp_listing_text(row, "reason"));
    mp_grid_put(&q->grid, MP_S("-"));
    mp_grid_put(&q->grid, mp_listing_text(row, "alarm"));
    mp_grid_put(&q->grid, mp_listing_text(row, "key"));
}

static int each(struct queue *q, const char *what,
                void (*row)(void *arg, const struct mp_tree *row))
{
    char target[128];

    snprintf(target, sizeof target, "/v1/%s%s%.64s", what,
             q->function ? "?function=" : "", q->function ? q->function : "");
    return mp_listing_each(q->c, target, what, row, q);
}

static int list(struct queue *q)
{
    static const char *const titles[] = {"ID",    "FUNCTION", "CAME",
                                         "DUE",   "REASON",   "ATTEMPT",
                                         "EVENT", "KEY",      NULL};
    int status;

    mp_grid_init(&q->grid, titles);
    status = each(q, "queue", list_one);
    if (!status)
        status = each(q, "alarms", list_alarm);
    if (!status && !q->flags.json && q->grid.at == q->grid.columns)
        fprintf(stderr, "nothing waits%s%s\n", q->function ? " for " : "",
                q->function ? q->function : "");
    mp_grid_print(&q->grid, stdout);
    return status;
}

static int drop(struct queue *q)
{
    long long count = 0;
    char target[128];
    int status = MP_EXIT_DONE;

    if (q->all) {
        snprintf(target, sizeof target, "/v1/queue%s%.64s",
                 q->function ? "?function=" : "",
                 q->function ? q->function : "");
        status = mp_listing_change(q->c, "DELETE", target, &count);
    }
    for (unsigned i = 0; !status && i < q->n_ids; i++) {
        snprintf(target, sizeof target, "/v1/queue/%.24s", q->ids[i]);
        status = mp_listing_change(q->c, "DELETE", target, &count);
    }
    if (q->flags.json)
        printf("{\"count\":%lld}\n", count);
    else if (!status || count)
        fprintf(stderr, "%lld dropped\n", count);
    return status;
}

static int usage_error(const char *text)
{
    fprintf(stderr, "moonpool queue: %s; moonpool queue --help says more\n",
            text);
    return MP_EXIT_USAGE;
}

static int check_words(struct queue *q, const char *const *words, int n)
{
    bool is_drop = strcmp(words[0], "drop") == 0;

    if (!is_drop && strcmp(words[0], "ls") != 0)
        return usage_error("it is one of ls, drop");
    for (int i = 1; i < n; i++) {
        if (isdigit((unsigned char)words[i][0]))
            q->ids[q->n_ids++] = words[i];
        else if (q->function)
            return usage_error("one function at a time");
        else
            q->function = words[i];
    }
    if (!is_drop)
        return q->n_ids ? usage_error("ls takes a function") : MP_EXIT_DONE;
    if (!q->n_ids && !q->all)
        return usage_error("which? give an ID, or --all");
    if (q->n_ids && (q->all || q->function))
        return usage_error("IDs, or --all");
    return MP_EXIT_DONE;
}

int mp_verb_queue(int argc, char **argv)
{
    struct queue q = {.function = NULL};
    const struct mp_flag flags[] = {
        {.name = "all",
         .help = "drop: every event, of FUNCTION if one is named; alarms stay",
         .on = &q.all},
        MP_CLIENT_FLAGS(&q.flags),
    };
    const struct mp_usage usage = {
        .verb = "moonpool queue",
        .operands = "ls|drop [FUNCTION] [ID...|--all]",
        .about =
            "Events that the host has taken over and that wait: sent, "
            "parked, or to be run again.\nls lists the alarms that are set, "
            "too; drop leaves them alone.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = WORDS_MAX,
    };
    const char *words[WORDS_MAX];
    int status, n = mp_flags_parse(&usage, argc, argv, words, &status);

    if (n < 0)
        return status;
    status = check_words(&q, words, n);
    if (!status)
        status = mp_client_open(&q.c, usage.verb, &q.flags, true);
    if (status)
        return status;
    status = strcmp(words[0], "ls") == 0 ? list(&q) : drop(&q);
    mp_client_close(q.c);
    return status;
}
