/*
 * secret.c - `moonpool secret`: what functions were granted to know, in the
 * directory [paths] secrets of this machine.
 *
 * A value comes in on stdin and goes nowhere else: no list, no message and no
 * error has it.  No host is asked: it reads the files when it is told to.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cli/listing.h"
#include "cli/verbs.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/keys.h"
#include "core/secrets.h"

struct secret {
    const char *config_file;
    bool json;
    struct mp_config config;
    const char *function, *name; /* NULL: any */
    struct mp_grid grid;
    unsigned found;
};

static int fail(const struct mp_why *why)
{
    fprintf(stderr, "moonpool secret: %s\n", why->text);
    return MP_EXIT_NO;
}

/* ---- ls ---- */

/* Names of a directory, sorted by bytes; < 0: it can't be read. */
static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void show_json(const char *function, const char *name,
                      const char *changed, bool fine)
{
    struct mp_buf line;

    mp_buf_init(&line, 4096);
    mp_buf_printf(&line, "{\"function\":");
    mp_json_put_string(&line, mp_slice_str(function));
    mp_buf_printf(&line, ",\"secret\":");
    mp_json_put_string(&line, mp_slice_str(name));
    mp_buf_printf(&line, ",\"changed\":");
    mp_json_put_string(&line, mp_slice_str(changed));
    mp_buf_printf(&line, ",\"private\":%s}\n", fine ? "true" : "false");
    fwrite(line.ptr, 1, line.len, stdout);
    mp_buf_fini(&line);
}

static void show(struct secret *s, const char *function, const char *name,
                 const struct stat *st)
{
    bool fine = !(st->st_mode & 077);
    char changed[MP_TIME_TEXT], age[MP_AGE_TEXT];

    s->found++;
    mp_time_text(st->st_mtim.tv_sec * MP_SECOND, changed);
    if (s->json) {
        show_json(function, name, changed, fine);
        return;
    }
    mp_age_text(mp_slice_str(changed), age);
    mp_grid_put(&s->grid, mp_slice_str(function));
    mp_grid_put(&s->grid, mp_slice_str(name));
    mp_grid_put(&s->grid, mp_slice_str(age));
    mp_grid_put(&s->grid,
                fine ? MP_S("fine") : MP_S("others may read it: chmod 600"));
}

static int list_function(struct secret *s, const char *function,
                         struct mp_why *why)
{
    char path[PATH_MAX];
    struct dirent **names;
    int dir, n;

    snprintf(path, sizeof path, "%s/%s", s->config.secrets, function);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    n = dir < 0 ? -1 : scandirat(dir, ".", &names, visible, by_bytes);
    if (n < 0 && errno != ENOENT && errno != ENOTDIR)
        mp_why_errno(why, "read %s", path);
    else
        why->text[0] = '\0';
    for (int i = 0; i < n; i++) {
        struct stat st;

        if (fstatat(dir, names[i]->d_name, &st, 0) == 0 &&
            S_ISREG(st.st_mode) &&
            (!s->name || strcmp(s->name, names[i]->d_name) == 0))
            show(s, function, names[i]->d_name, &st);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    if (dir >= 0)
        close(dir);
    return *why->text ? MP_EIO : 0;
}

static int list_all(struct secret *s, struct mp_why *why)
{
    struct dirent **names;
    int rc = 0, n = scandir(s->config.secrets, &names, visible, by_bytes);

    if (n < 0)
        return errno == ENOENT
                   ? 0
                   : mp_why_errno(why, "read %s", s->config.secrets);
    for (int i = 0; i < n; i++) {
        if (!rc)
            rc = list_function(s, names[i]->d_name, why);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int list(struct secret *s)
{
    static const char *const titles[] = {"FUNCTION", "SECRET", "SET", "FILE",
                                         NULL};
    struct mp_why why;
    int rc;

    mp_grid_init(&s->grid, titles);
    rc = s->function ? list_function(s, s->function, &why) : list_all(s, &why);
    mp_grid_print(&s->grid, stdout);
    if (rc)
        return fail(&why);
    if (!s->found && !s->json)
        fprintf(stderr, "no secrets%s%s in %s\n", s->function ? " of " : "",
                s->function ? s->function : "", s->config.secrets);
    return MP_EXIT_DONE;
}

/* ---- set, rm ---- */

/* A line of the terminal that isn't shown.  A signal waits until the terminal
 * is as it was. */
static int read_terminal(struct mp_buf *value, struct mp_why *why)
{
    struct termios was, silent;
    sigset_t all, before;
    char byte;
    ssize_t n;

    if (tcgetattr(STDIN_FILENO, &was))
        return mp_why_errno(why, "read the terminal");
    silent = was;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    fprintf(stderr, "value (not shown), then Enter: ");
    while ((n = read(STDIN_FILENO, &byte, 1)) == 1 && byte != '\n')
        mp_buf_put(value, &byte, 1);
    fprintf(stderr, "\n");
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return n < 0 ? mp_why_errno(why, "read the terminal") : 0;
}

static int read_value(struct mp_buf *value, struct mp_why *why)
{
    int rc;

    if (isatty(STDIN_FILENO))
        return read_terminal(value, why);
    rc = mp_file_read_fd(STDIN_FILENO, MP_SECRET_BYTES + 1, value, why);
    if (rc == MP_ERANGE)
        mp_why_set(why, rc, "a secret is 1 to %d bytes without NUL",
                   MP_SECRET_BYTES);
    else if (rc)
        mp_why_wrap(why, "stdin");
    if (!rc && value->len && value->ptr[value->len - 1] == '\n')
        value->len--;
    return rc;
}

/* What may be a slip: nobody asks for it. */
static void look_for_user(const struct secret *s)
{
    struct mp_report quiet = {.say = NULL};
    char path[PATH_MAX];
    struct mp_function *fn;
    bool granted = false;

    snprintf(path, sizeof path, "%s/%s", s->config.functions, s->function);
    if (access(path, F_OK)) {
        fprintf(stderr, "there is no function %s in %s yet\n", s->function,
                s->config.functions);
        return;
    }
    fn = mp_function_read(path, s->config.node, &quiet);
    for (unsigned i = 0; fn && i < fn->n_secrets; i++)
        granted |= mp_slice_is(fn->secrets[i], s->name);
    if (fn && !granted)
        fprintf(stderr,
                "%s does not ask for it; put secret = %s in [grant] of its "
                "function.conf\n",
                s->function, s->name);
    mp_function_unref(fn);
}

static int set(struct secret *s)
{
    struct mp_buf value;
    struct mp_why why;
    int rc;

    mp_buf_init(&value, MP_SECRET_BYTES + 2);
    rc = read_value(&value, &why);
    if (!rc)
        rc = mp_secret_write(s->config.secrets, s->function, s->name,
                             mp_buf_bytes(&value), &why);
    if (value.ptr)
        explicit_bzero(value.ptr, value.len);
    mp_buf_fini(&value);
    if (rc) {
        fail(&why);
        if (rc != MP_ERANGE)
            fprintf(stderr, "where secrets are, [paths] secrets says: --config "
                            "FILE\n");
        return MP_EXIT_NO;
    }
    fprintf(stderr,
            "secret %s of %s is set; a running host takes it with: systemctl "
            "reload moonpool (kill -HUP of its process)\n",
            s->name, s->function);
    look_for_user(s);
    return MP_EXIT_DONE;
}

static int drop(const struct secret *s)
{
    struct mp_why why;
    int rc = mp_secret_remove(s->config.secrets, s->function, s->name, &why);

    if (rc == MP_ENONE)
        mp_why_set(&why, rc, "%s has no secret %s in %s", s->function, s->name,
                   s->config.secrets);
    if (rc)
        return fail(&why);
    fprintf(stderr,
            "secret %s of %s is removed; a running host uses it until it "
            "stops, and %s does not load without it\n",
            s->name, s->function, s->function);
    return MP_EXIT_DONE;
}

/* ---- usage ---- */

static int refuse(const char *text)
{
    fprintf(stderr, "moonpool secret: %s\n", text);
    return MP_EXIT_USAGE;
}

static int check_words(struct secret *s, const char *const *words, int n)
{
    static const char *const verbs[] = {"ls", "set", "rm"};
    struct mp_why why;
    unsigned v = 0;

    while (v < ARRAY_LEN(verbs) && strcmp(words[0], verbs[v]) != 0)
        v++;
    if (v == ARRAY_LEN(verbs))
        return refuse("it is one of ls, set, rm");
    s->function = n > 1 ? words[1] : NULL;
    s->name = n > 2 ? words[2] : NULL;
    if (v && !s->name)
        return refuse("whose, and which? as in moonpool secret set webhook "
                      "HOOK_KEY");
    if (s->function && mp_check_name(mp_slice_str(s->function), &why))
        return refuse(why.text);
    if (s->name && mp_check_env_name(mp_slice_str(s->name), &why))
        return refuse(why.text);
    return MP_EXIT_DONE;
}

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    if (!warning)
        fprintf(stderr, "%s\n", text);
}

int mp_verb_secret(int argc, char **argv)
{
    struct secret s = {.function = NULL};
    const struct mp_flag flags[] = {
        {.name = "json", .help = "ls: an object a line", .on = &s.json},
        {.name = "config",
         .arg = "FILE",
         .help = "says where secrets are: [paths] secrets",
         .text = &s.config_file},
    };
    const struct mp_usage usage = {
        .verb = "moonpool secret",
        .operands = "ls|set|rm [FUNCTION [NAME]]",
        .about = "What functions were granted to know ([grant] secret); they "
                 "ask by mp.secret.\n\n"
                 "  ls [FUNCTION [NAME]]        names, never values\n"
                 "  set FUNCTION NAME           the value is read from stdin, "
                 "without its last\n"
                 "                              newline; a terminal doesn't "
                 "show it\n"
                 "  rm FUNCTION NAME\n\n"
                 "Each is a file FUNCTION/NAME of mode 0600 in [paths] secrets "
                 "of this machine.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = 3,
    };
    struct mp_report report = {.say = say};
    const char *words[3];
    int status, n = mp_flags_parse(&usage, argc, argv, words, &status);

    if (n < 0)
        return status;
    status = check_words(&s, words, n);
    if (status)
        return status;
    if (mp_config_read(&s.config,
                       &(const struct mp_overrides){.config = s.config_file,
                                                    .only = "paths"},
                       &report))
        return MP_EXIT_NO;
    status = strcmp(words[0], "ls") == 0    ? list(&s)
             : strcmp(words[0], "set") == 0 ? set(&s)
                                            : drop(&s);
    mp_config_fini(&s.config);
    return status;
}
