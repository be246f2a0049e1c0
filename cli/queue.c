/*
 * queue.c - `moonpool queue`: events that the host has taken over and that
 * wait; and alarms, which will be events.
 */
#include <stdio.h>

#include "cli/listing.h"
#include "cli/verbs.h"

struct queue {
    struct mp_choice ch;
    struct mp_grid grid;
};

static void list_one(void *arg, const struct mp_tree *row)
{
    struct queue *q = arg;
    const struct mp_tree *due = mp_tree_get(row, "due_in");
    struct mp_slice topic = mp_listing_text(row, "topic");
    struct mp_slice note = mp_listing_text(row, "note");
    char span[MP_AGE_TEXT];

    if (q->ch.flags.json) {
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

    if (q->ch.flags.json) {
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

static int list(struct queue *q)
{
    static const char *const titles[] = {"ID",    "FUNCTION", "CAME",
                                         "DUE",   "REASON",   "ATTEMPT",
                                         "EVENT", "KEY",      NULL};
    int status;

    mp_grid_init(&q->grid, titles);
    status = mp_choice_each(&q->ch, "queue", "queue", list_one, q);
    if (!status)
        status = mp_choice_each(&q->ch, "alarms", "alarms", list_alarm, q);
    if (!status && !q->ch.flags.json && mp_grid_empty(&q->grid))
        fprintf(stderr, "nothing waits%s%s\n", q->ch.function ? " for " : "",
                q->ch.function ? q->ch.function : "");
    mp_grid_print(&q->grid, stdout);
    return status;
}

static int drop(const struct mp_choice *ch)
{
    long long count = 0;
    int status = MP_EXIT_DONE;

    if (ch->all)
        status = mp_choice_change_all(ch, "DELETE", "", &count);
    for (unsigned i = 0; !status && i < ch->n_ids; i++)
        status = mp_choice_change_one(ch, "DELETE", ch->ids[i], "", &count);
    mp_listing_count(&ch->flags, status, count, "dropped");
    return status;
}

static int check_words(struct mp_choice *ch, const char *const *words, int n)
{
    bool is_drop = strcmp(words[0], "drop") == 0;
    int status;

    if (!is_drop && strcmp(words[0], "ls") != 0)
        return mp_choice_error(ch, "it is one of ls, drop");
    status = mp_choice_take(ch, words + 1, n - 1);
    if (status)
        return status;
    if (!is_drop)
        return ch->n_ids ? mp_choice_error(ch, "ls takes a function")
               : ch->all ? mp_choice_error(ch, "--all is for drop")
                         : MP_EXIT_DONE;
    if (!ch->n_ids && !ch->all)
        return mp_choice_error(ch, "drop which? give IDs, or --all");
    if (ch->n_ids && (ch->all || ch->function))
        return mp_choice_error(ch, "IDs, or --all");
    return MP_EXIT_DONE;
}

int mp_verb_queue(int argc, char **argv)
{
    struct queue q = {.ch = {.verb = "moonpool queue", .path = "queue"}};
    const struct mp_flag flags[] = {
        {.name = "all",
         .help = "drop: every event, of FUNCTION if one is named; alarms stay",
         .on = &q.ch.all},
        MP_CLIENT_FLAGS(&q.ch.flags),
    };
    const struct mp_usage usage = {
        .verb = q.ch.verb,
        .operands = "ls|drop [FUNCTION] [ID...|--all]",
        .about =
            "Events that the host has taken over and that wait.\n\n"
            "  ls [FUNCTION]               and the alarms that are set\n"
            "  drop ID...                  forgets events\n"
            "  drop [FUNCTION] --all       every one; alarms stay\n\n"
            "Their reasons: send, an event of mp.send; replay, of dlq replay; "
            "slow, it took\nlonger than [mqtt] hold; retry, it is to be run "
            "again; quarantined, its function\nfails again and again; full, "
            "so many waited; output, it is done, but "
            "what\nit published isn't confirmed; async, a request that was "
            "accepted at once;\nwindow, it waits in one (coalesce, batch).  "
            "Without a running host the\ndatabase is asked.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = MP_CHOICE_WORDS,
    };
    const char *words[MP_CHOICE_WORDS];
    int status, n = mp_flags_parse(&usage, argc, argv, words, &status);

    if (n < 0)
        return status;
    status = check_words(&q.ch, words, n);
    if (!status)
        status = mp_client_open(&q.ch.c, q.ch.verb, &q.ch.flags, true);
    if (status)
        return status;
    status = strcmp(words[0], "ls") == 0 ? list(&q) : drop(&q.ch);
    mp_client_close(q.ch.c);
    return status;
}
