/*
 * send.c - `moonpool send`: an event into the running host, effects and all.
 */
#include <stdio.h>

#include "cli/listing.h"
#include "cli/show.h"
#include "cli/verbs.h"
#include "core/base/file.h"
#include "core/request.h"

struct send {
    struct mp_client_flags flags;
    const char *function, *data, *key, *trigger;
    bool wait;
};

static void put_target(struct mp_buf *to, const struct send *s)
{
    mp_buf_init(to, MP_TARGET_MAX);
    mp_buf_printf(to, "/v1/functions/");
    mp_request_put(to, mp_slice_str(s->function));
    mp_buf_printf(to, "/send?wait=%d", s->wait);
    if (s->key) {
        mp_buf_printf(to, "&key=");
        mp_request_put(to, mp_slice_str(s->key));
    }
    if (s->trigger) {
        mp_buf_printf(to, "&trigger=");
        mp_request_put(to, mp_slice_str(s->trigger));
    }
}

static void lines(const char *name, const struct mp_tree *value)
{
    struct mp_buf b, text;

    if (!value || value->kind == MP_TREE_NULL)
        return;
    mp_buf_init(&b, 16 << 20);
    mp_buf_init(&text, 16 << 20);
    if (value->kind == MP_TREE_STRING)
        mp_buf_slice(&text, value->text);
    else
        mp_tree_print(value, &text);
    mp_show_clean(mp_buf_bytes(&text), &b);
    printf("%-8s %.*s\n", name, MP_FMT(mp_buf_bytes(&b)));
    mp_buf_fini(&text);
    mp_buf_fini(&b);
}

static int show_outcome(const struct mp_tree *reply)
{
    struct mp_slice outcome = mp_listing_text(reply, "outcome");
    const struct mp_tree *took = mp_tree_get(reply, "duration_us");
    struct mp_buf b;

    if (!outcome.len) {
        fprintf(stderr, "moonpool send: %.*s\n",
                MP_FMT(mp_listing_text(reply, "error")));
        return MP_EXIT_NO;
    }
    mp_buf_init(&b, 64);
    if (took)
        mp_show_duration((uint64_t)(took->real * 1e3), &b);
    printf("%.*s  %.*s, %lld effects  (%.*s)\n", MP_FMT(outcome),
           MP_FMT(mp_buf_bytes(&b)), mp_listing_int(reply, "effects"),
           MP_FMT(mp_listing_text(reply, "id")));
    mp_buf_fini(&b);
    lines("result", mp_tree_get(reply, "result"));
    lines("error", mp_tree_get(reply, "error"));
    lines("retry", mp_tree_get(reply, "retry"));
    return mp_slice_is(outcome, "ok") ? MP_EXIT_DONE : MP_EXIT_NO;
}

static int show_reply(const struct send *s, struct mp_slice reply)
{
    struct mp_tree_doc doc;
    struct mp_why why;
    int status = MP_EXIT_DONE;

    if (mp_tree_parse(&doc, reply, &why)) {
        fprintf(stderr, "moonpool send: the host's answer makes no sense\n");
        return MP_EXIT_NO_HOST;
    }
    if (s->flags.json)
        mp_listing_json(doc.root);
    if (s->flags.json && s->wait)
        status = mp_slice_is(mp_listing_text(doc.root, "outcome"), "ok")
                     ? MP_EXIT_DONE
                     : MP_EXIT_NO;
    else if (s->wait)
        status = show_outcome(doc.root);
    else if (!s->flags.json)
        printf("%.*s\n", MP_FMT(mp_listing_text(doc.root, "id")));
    mp_tree_fini(&doc);
    return status;
}

static int run(const struct send *s, struct mp_client *c)
{
    struct mp_buf target, data, reply;
    struct mp_why why;
    int status = MP_EXIT_DONE;

    mp_buf_init(&data, MP_BODY_MAX);
    put_target(&target, s);
    if (s->data && strcmp(s->data, "-") == 0) {
        if (mp_file_read_fd(0, MP_BODY_MAX - 1, &data, &why)) {
            fprintf(stderr, "moonpool send: %s\n", why.text);
            status = MP_EXIT_NO;
        }
    } else if (s->data) {
        mp_buf_slice(&data, mp_slice_str(s->data));
    }
    if (!status && data.full) {
        fprintf(stderr, "moonpool send: a payload is at most 1 MiB\n");
        status = MP_EXIT_NO;
    }
    if (!status)
        status =
            mp_client_ask_at(c, "POST", &target,
                             data.ptr ? mp_buf_bytes(&data) : MP_S(""), &reply);
    mp_buf_fini(&target);
    mp_buf_fini(&data);
    if (status)
        return status;
    status = show_reply(s, mp_buf_bytes(&reply));
    mp_buf_fini(&reply);
    return status;
}

int mp_verb_send(int argc, char **argv)
{
    struct send s = {.wait = false};
    const struct mp_flag flags[] = {
        {.name = "data",
         .arg = "TEXT",
         .help = "the payload; -: standard input",
         .text = &s.data},
        {.name = "key",
         .arg = "KEY",
         .help = "the actor that it is for",
         .text = &s.key},
        {.name = "trigger",
         .arg = "NAME",
         .help = "as if it came by that trigger; default: send",
         .text = &s.trigger},
        {.name = "wait",
         .help = "for the outcome, which is printed; exit status 1 unless it "
                 "is ok",
         .on = &s.wait},
        MP_CLIENT_FLAGS(&s.flags),
    };
    const struct mp_usage usage = {
        .verb = "moonpool send",
        .operands = "FUNCTION",
        .about = "An event into the running host: what it does is real.\n"
                 "Prints its id when it is safe on disk.  With --wait, the\n"
                 "outcome of its first attempt; if that failed and it is run\n"
                 "again, `retry` says when, and moonpool queue ls shows it.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = 1,
    };
    struct mp_client *c;
    int status;

    if (mp_flags_parse(&usage, argc, argv, &s.function, &status) < 0)
        return status;
    status = mp_client_open(&c, usage.verb, &s.flags, false);
    if (status)
        return status;
    status = run(&s, c);
    mp_client_close(c);
    return status;
}
