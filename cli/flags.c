/*
 * flags.c - one loop over argv against a table; the same table makes the text
 * of --help, so that neither can know a flag that the other doesn't.
 */
#include "cli/flags.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"

enum {
    FLAGS_MAX = 32,
    HELP_WIDTH = 80, /* of a terminal */
    HELP_AT = 26,    /* where the sentence about a flag begins */
};

/* "  --name ARG    what it does", the sentence in lines below each other. */
static void print_flag(const struct mp_flag *f)
{
    struct mp_slice rest = mp_slice_str(f->help), word;
    char left[HELP_AT];
    size_t at = HELP_AT;

    snprintf(left, sizeof left, "  --%s%s%s", f->name, f->arg ? " " : "",
             f->arg ? f->arg : "");
    printf("%-*s", HELP_AT, left);
    while (mp_split(&rest, ' ', &word)) {
        if (at + 1 + word.len > HELP_WIDTH) {
            printf("\n%*s", HELP_AT, "");
            at = HELP_AT;
        }
        printf(" %.*s", MP_FMT(word));
        at += 1 + word.len;
    }
    printf("\n");
}

static void print_help(const struct mp_usage *u)
{
    printf("%s%s%s%s\n%s\n", u->verb, *u->operands ? " " : "", u->operands,
           u->n_flags ? " [flags]" : "", u->about);
    if (u->n_flags)
        printf("\n");
    for (size_t i = 0; i < u->n_flags; i++)
        print_flag(&u->flags[i]);
}

static const struct mp_flag *find(const struct mp_usage *u,
                                  struct mp_slice name)
{
    const char *words[FLAGS_MAX + 1];
    const char *near;

    MP_ASSERT(u->n_flags <= FLAGS_MAX);
    for (size_t i = 0; i < u->n_flags; i++) {
        if (mp_slice_is(name, u->flags[i].name))
            return &u->flags[i];
        words[i] = u->flags[i].name;
    }
    words[u->n_flags] = "help";
    near = mp_nearest(name, words, u->n_flags + 1);
    fprintf(stderr, "%s: unknown flag '--%.*s'; ", u->verb, MP_FMT(name));
    if (near)
        fprintf(stderr, "did you mean '--%s'?\n", near);
    else
        fprintf(stderr, "%s --help lists them\n", u->verb);
    return NULL;
}

static bool take(const struct mp_usage *u, const struct mp_flag *f,
                 const char *value)
{
    if (f->on) {
        *f->on = true;
    } else if (f->text) {
        *f->text = value;
    } else if (f->list->n < MP_FLAG_LIST_MAX) {
        f->list->items[f->list->n++] = value;
    } else {
        fprintf(stderr, "%s: --%s is given more than %d times\n", u->verb,
                f->name, MP_FLAG_LIST_MAX);
        return false;
    }
    return true;
}

/* One flag at argv[*at]; moves *at onto a value that stands apart. */
static bool parse_one(const struct mp_usage *u, int argc, char **argv, int *at)
{
    const char *word = argv[*at] + 2, *equals = strchr(word, '=');
    struct mp_slice name =
        mp_slice(word, equals ? (size_t)(equals - word) : strlen(word));
    const struct mp_flag *f = find(u, name);

    if (!f)
        return false;
    if (!f->arg && equals) {
        fprintf(stderr, "%s: --%s takes no value\n", u->verb, f->name);
        return false;
    }
    if (!f->arg)
        return take(u, f, NULL);
    if (equals)
        return take(u, f, equals + 1);
    if (*at + 1 >= argc) {
        fprintf(stderr, "%s: --%s needs a value: --%s %s\n", u->verb, f->name,
                f->name, f->arg);
        return false;
    }
    return take(u, f, argv[++*at]);
}

static bool operands_fit(const struct mp_usage *u, unsigned n,
                         const char *surplus)
{
    if (surplus)
        fprintf(stderr, "%s: '%s' is one word too many", u->verb, surplus);
    else if (n < u->min)
        fprintf(stderr, "%s: %.*s is missing", u->verb,
                (int)strcspn(u->operands, " "), u->operands);
    else
        return true;
    fprintf(stderr, "; usage: %s%s%s%s\n", u->verb, *u->operands ? " " : "",
            u->operands, u->n_flags ? " [flags]" : "");
    return false;
}

int mp_flags_parse(const struct mp_usage *u, int argc, char **argv,
                   const char **operands, int *exit_status)
{
    const char *surplus = NULL;
    bool flags = true;
    unsigned n = 0;

    *exit_status = MP_EXIT_USAGE;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];

        if (flags && strcmp(word, "--") == 0) {
            flags = false;
        } else if (flags &&
                   (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            print_help(u);
            *exit_status = MP_EXIT_DONE;
            return -1;
        } else if (flags && strncmp(word, "--", 2) == 0) {
            if (!parse_one(u, argc, argv, &i))
                return -1;
        } else if (flags && word[0] == '-' && word[1]) {
            fprintf(stderr, "%s: unknown flag '%s'; flags begin with --\n",
                    u->verb, word);
            return -1;
        } else if (n < u->max) {
            operands[n++] = word;
        } else if (!surplus) {
            surplus = word;
        }
    }
    if (!operands_fit(u, n, surplus))
        return -1;
    *exit_status = MP_EXIT_DONE;
    return (int)n;
}

static bool parse_workers(const char *verb, const char *text, uint32_t *workers)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text || *end || n < 1 || n > MP_WORKERS_MAX) {
        fprintf(stderr, "%s: --workers %s: a number from 1 to %d\n", verb, text,
                MP_WORKERS_MAX);
        return false;
    }
    *workers = (uint32_t)n;
    return true;
}

/* Values that can be wrong are told here, before anything is started. */
static bool check_values(const char *verb, const struct mp_overrides *o)
{
    struct mp_why why;
    uint64_t bytes;
    uint16_t port;
    char *host = NULL;
    bool tls;

    if (o->mqtt &&
        mp_parse_mqtt_url(mp_slice_str(o->mqtt), &tls, &host, &port, &why)) {
        fprintf(stderr, "%s: --mqtt %s: %s\n", verb, o->mqtt, why.text);
        return false;
    }
    free(host);
    if (o->memory && mp_parse_size(mp_slice_str(o->memory), &bytes, &why)) {
        fprintf(stderr, "%s: --memory %s: %s\n", verb, o->memory, why.text);
        return false;
    }
    if (o->log_format && strcmp(o->log_format, "auto") != 0 &&
        strcmp(o->log_format, "text") != 0 &&
        strcmp(o->log_format, "json") != 0) {
        fprintf(stderr, "%s: --log-format %s: one of auto, text, json\n", verb,
                o->log_format);
        return false;
    }
    return true;
}

int mp_run_flags_parse(struct mp_run_flags *r, const char *verb, int argc,
                       char **argv, int *exit_status)
{
    const char *workers = NULL;
    const struct mp_flag flags[] = {
        {.name = "config",
         .arg = "FILE",
         .help = "read FILE, not /etc/moonpool/moonpool.conf",
         .text = &r->overrides.config},
        {.name = "functions",
         .arg = "DIR",
         .help = "where the functions are, a directory each",
         .text = &r->overrides.functions},
        {.name = "data",
         .arg = "DIR",
         .help = "where the host keeps what must last",
         .text = &r->overrides.data},
        {.name = "mqtt",
         .arg = "URL",
         .help = "the broker, as in mqtt://127.0.0.1:1883",
         .text = &r->overrides.mqtt},
        {.name = "workers",
         .arg = "N",
         .help = "worker processes; default: one a core",
         .text = &workers},
        {.name = "memory",
         .arg = "SIZE",
         .help = "budget of all workers, as in 64M",
         .text = &r->overrides.memory},
        {.name = "log-format",
         .arg = "FORMAT",
         .help = "auto, text or json",
         .text = &r->overrides.log_format},
        {.name = "watch",
         .help = "reload a function when its files are saved",
         .on = &r->watch},
        {.name = "live",
         .help = "a line of figures that renews itself",
         .on = &r->live},
    };
    const struct mp_usage usage = {
        .verb = verb,
        .operands = "",
        .about = "Runs functions when sensors speak, until it is told to stop.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
    };

    *r = (struct mp_run_flags){.watch = false};
    if (mp_flags_parse(&usage, argc, argv, NULL, exit_status) < 0)
        return -1;
    *exit_status = MP_EXIT_USAGE;
    if (workers && !parse_workers(verb, workers, &r->overrides.workers))
        return -1;
    if (!check_values(verb, &r->overrides))
        return -1;
    *exit_status = MP_EXIT_DONE;
    return 0;
}
