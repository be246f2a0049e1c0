/*
 * client.c - one request, one connection: what comes until it ends is the
 * answer.
 *
 * Whom to ask is decided once, at open:
 *
 *   the socket answers            the host
 *   nobody has the lock           the database, with the lock held
 *   somebody has it               a host that starts or is stuck: the socket
 *                                 is tried for a while, then exit 3
 */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/local.h"
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/text.h"

enum {
    REPLY_MAX = 64 << 20, /* a list ends at 16 MiB, a letter has 8 MB */
    STARTING_MS = 3000,   /* a host between its lock and its socket */
    TRY_MS = 20,
};

struct mp_client {
    const char *verb;
    struct mp_config config;
    bool has_config, offline;
    char *data;   /* NULL: only the socket is known */
    char *socket; /* whom to ask */
    int lock_fd;
    bool is_local;
    struct mp_local local;
};

static int say(const struct mp_client *c, int status, const char *sentence)
{
    fprintf(stderr, "%s: %s\n", c->verb, sentence);
    return status;
}

/* ---- the socket ---- */

/* A path of up to 107 bytes, or by a descriptor of its directory. */
static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *name = strrchr(path, '/');
    char *dir = NULL;
    int fd = -1, dir_fd = -1, failed;

    if (strlen(path) < sizeof to.sun_path) {
        strcpy(to.sun_path, path);
    } else if (name && strlen(name) < 64) {
        dir = mp_strndup(path, (size_t)(name - path));
        dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d%.64s",
                 dir_fd, name);
    } else {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to)) {
        failed = errno;
        close(fd);
        fd = -1;
        errno = failed;
    }
    failed = errno;
    if (dir_fd >= 0)
        close(dir_fd);
    free(dir);
    errno = failed;
    return fd;
}

/* Header NAME of the head, or ptr NULL. */
static struct mp_slice header(struct mp_slice head, const char *name)
{
    struct mp_slice line, field;

    while (mp_split(&head, '\n', &line)) {
        if (!mp_has(line, ':') || !mp_split(&line, ':', &field))
            continue;
        if (field.len == strlen(name) &&
            strncasecmp(field.ptr, name, field.len) == 0)
            return mp_trim(line);
    }
    return (struct mp_slice){NULL, 0};
}

int mp_client_read(struct mp_slice bytes, unsigned *status,
                   struct mp_slice *body, struct mp_why *why)
{
    const char *end =
        bytes.len ? memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4) : NULL;
    struct mp_slice head, length;
    char digits[24];

    if (!end || !mp_starts(bytes, "HTTP/1.") || bytes.len < 13)
        return mp_why_set(why, MP_EPARSE,
                          bytes.len ? "what answered does not speak HTTP"
                                    : "the host closed the connection");
    head = mp_slice(bytes.ptr, (size_t)(end - bytes.ptr));
    snprintf(digits, sizeof digits, "%.3s", bytes.ptr + 9);
    *status = (unsigned)strtoul(digits, NULL, 10);
    *body = mp_slice(end + 4, bytes.len - head.len - 4);
    length = header(head, "content-length");
    if (length.ptr && length.len < sizeof digits) {
        snprintf(digits, sizeof digits, "%.*s", MP_FMT(length));
        if (strtoull(digits, NULL, 10) != body->len)
            return mp_why_set(why, MP_EPARSE,
                              "the connection ended within the answer");
    }
    if (*status < 100 || *status > 599)
        return mp_why_set(why, MP_EPARSE, "what answered does not speak HTTP");
    return 0;
}

static int read_all(int fd, struct mp_buf *b, struct mp_why *why)
{
    for (;;) {
        char *room = mp_buf_room(b, 16 << 10);
        ssize_t n;

        if (!room)
            return mp_why_set(why, MP_EFULL, "the answer is too long");
        n = read(fd, room, 16 << 10);
        if (n > 0)
            b->len += (size_t)n;
        else if (n == 0)
            return 0;
        else if (errno != EINTR)
            /* it answered before it had read everything */
            return b->len ? 0 : mp_why_errno(why, "read the answer");
    }
}

static int exchange(int fd, const char *method, const char *target,
                    struct mp_slice body, struct mp_buf *answer,
                    struct mp_why *why)
{
    struct mp_buf head;

    mp_buf_init(&head, MP_TARGET_MAX + 512);
    mp_buf_printf(&head,
                  "%s %s HTTP/1.1\r\nHost: moonpool\r\nConnection: close\r\n",
                  method, target);
    if (body.ptr)
        mp_buf_printf(&head, "Content-Length: %zu\r\n", body.len);
    mp_buf_printf(&head, "\r\n");
    if (head.full) {
        mp_buf_fini(&head);
        return mp_why_set(why, MP_EFULL, "the request is too long");
    }
    /* Errors of writing show as an answer that is not there. */
    if (send(fd, head.ptr, head.len, MSG_NOSIGNAL) > 0) {
        while (body.len) {
            ssize_t n = send(fd, body.ptr, body.len, MSG_NOSIGNAL);

            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                break;
            body = mp_slice(body.ptr + n, body.len - (size_t)n);
        }
    }
    mp_buf_fini(&head);
    return read_all(fd, answer, why);
}

/* ---- open ---- */

static void say_report(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    if (!warning)
        fprintf(stderr, "%s\n", text);
}

static int find_data(struct mp_client *c, const struct mp_client_flags *f)
{
    struct mp_report report = {.say = say_report};
    struct mp_overrides o = {.config = f->config, .data = f->store};
    size_t size;

    if (mp_config_read(&c->config, &o, &report))
        return MP_EXIT_NO;
    c->has_config = true;
    c->data = c->config.data;
    size = strlen(c->data) + sizeof "/moonpool.sock";
    c->socket = mp_alloc(size);
    snprintf(c->socket, size, "%s/moonpool.sock", c->data);
    return MP_EXIT_DONE;
}

static bool may_start(int error)
{
    return error == ENOENT || error == ECONNREFUSED;
}

/* The data directory, not the socket in it, is closed to us. */
static bool is_shut(const struct mp_client *c)
{
    return c->data && eaccess(c->data, R_OK | X_OK) && errno == EACCES;
}

static int shut(const struct mp_client *c)
{
    fprintf(stderr,
            "%s: the data directory %s can't be read: %s; be its owner, or "
            "root\n",
            c->verb, c->data, strerror(EACCES));
    return MP_EXIT_NO_HOST;
}

/* As errno tells. */
static int no_host(const struct mp_client *c)
{
    int error = errno;

    if (error == EACCES && is_shut(c))
        return shut(c);
    if (!c->offline && may_start(error)) {
        fprintf(stderr, "%s needs a running host, and none answers on %s\n",
                c->verb, c->socket);
        return MP_EXIT_NO_HOST;
    }
    switch (error) {
    case EACCES:
    case EPERM:
        fprintf(stderr,
                "%s: %s: only the user of the host, and root, may "
                "ask it\n",
                c->verb, c->socket);
        break;
    case ENOENT:
    case ECONNREFUSED:
        fprintf(stderr, "%s: no host answers on %s\n", c->verb, c->socket);
        break;
    default:
        fprintf(stderr, "%s: no host answers on %s: %s\n", c->verb, c->socket,
                strerror(error));
    }
    return MP_EXIT_NO_HOST;
}

/* As the owner of the data, so that the host can open what root leaves. */
static void become_owner(const char *data)
{
    struct stat st;

    if (geteuid() == 0 && !stat(data, &st) && st.st_uid != 0 &&
        (setegid(st.st_gid) || seteuid(st.st_uid)))
        fprintf(stderr, "can't become the owner of %s: %s\n", data,
                strerror(errno));
}

static int open_local(struct mp_client *c)
{
    struct mp_why why;
    int rc = mp_local_open(&c->local, c->data, c->config.store.max_size, &why);

    if (rc)
        return say(c, rc == MP_ENONE ? MP_EXIT_NO_HOST : MP_EXIT_NO, why.text);
    c->is_local = true;
    return MP_EXIT_DONE;
}

/* The socket did not answer at first: the lock says whether a host runs. */
static int open_data(struct mp_client *c)
{
    const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
    int64_t until = mp_now_us() + STARTING_MS * MP_MS;
    int dir = open(c->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    struct mp_why why;

    if (dir < 0 && is_shut(c))
        return shut(c);
    if (dir < 0) {
        fprintf(stderr, "%s: no host runs on %s: %s\n", c->verb, c->data,
                errno == ENOENT ? "there is no such directory"
                                : strerror(errno));
        return MP_EXIT_NO_HOST;
    }
    become_owner(c->data);
    while ((c->lock_fd = mp_store_lock(dir, &why)) == MP_EDENY) {
        fd = connect_to(c->socket);
        if (fd >= 0 || !may_start(errno) || mp_now_us() > until)
            break;
        nanosleep(&pause, NULL);
    }
    close(dir);
    if (fd >= 0) {
        close(fd);
        return MP_EXIT_DONE;
    }
    if (c->lock_fd >= 0)
        return open_local(c);
    if (c->lock_fd != MP_EDENY)
        return say(c, MP_EXIT_NO_HOST, why.text);
    fprintf(stderr, "%s: %s, and does not answer on %s\n", c->verb, why.text,
            c->socket);
    return MP_EXIT_NO_HOST;
}

int mp_client_open(struct mp_client **out, const char *verb,
                   const struct mp_client_flags *f, bool offline)
{
    struct mp_client *c = mp_zalloc(sizeof *c);
    const char *host = f->host ? f->host : getenv("MOONPOOL_HOST");
    int fd, status = MP_EXIT_DONE;

    c->verb = verb;
    c->offline = offline;
    c->lock_fd = -1;
    *out = c;
    if (f->store || f->config || (host && !*host))
        host = f->host; /* said here beats said somewhere */
    if ((f->store && !*f->store) || (host && !*host)) {
        status =
            say(c, MP_EXIT_USAGE, "the path of --host or --store is empty");
    } else if (host && strstr(host, "://")) {
        status = say(c, MP_EXIT_USAGE,
                     "a host is named by the path of its socket, as in "
                     "/var/lib/moonpool/moonpool.sock");
    } else if (host) {
        c->socket = mp_strndup(host, strlen(host));
    } else {
        status = find_data(c, f);
    }
    if (!status) {
        fd = connect_to(c->socket);
        if (fd >= 0)
            close(fd);
        else if (offline && c->data && may_start(errno))
            status = open_data(c);
        else
            status = no_host(c);
    }
    if (status) {
        mp_client_close(c);
        *out = NULL;
    }
    return status;
}

void mp_client_close(struct mp_client *c)
{
    if (!c)
        return;
    if (c->is_local)
        mp_local_close(&c->local);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    if (c->has_config)
        mp_config_fini(&c->config);
    free(c->socket);
    free(c);
}

/* ---- ask ---- */

static int ask_local(struct mp_client *c, const char *method,
                     const char *target, struct mp_slice body,
                     struct mp_buf *reply)
{
    struct mp_request r;
    struct mp_why why;
    int rc =
        mp_request_parse(&r, mp_slice_str(method), mp_slice_str(target), &why);

    if (!rc) {
        rc = mp_local_answer(&c->local, &r, body, reply, &why);
        mp_request_fini(&r);
    }
    return rc ? say(c, MP_EXIT_NO, why.text) : MP_EXIT_DONE;
}

/* The sentence of problem details. */
static int refused(const struct mp_client *c, unsigned status,
                   struct mp_slice body)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;
    char *text;

    mp_json_init(&s, body);
    while (!mp_json_next(&s, &t, &why) && t.kind != MP_JSON_END) {
        if (t.kind != MP_JSON_NAME || !mp_json_is(&t, MP_S("detail")))
            continue;
        if (mp_json_next(&s, &t, &why) || t.kind != MP_JSON_STRING)
            break;
        text = mp_alloc(t.text.len + 1);
        text[mp_json_unescape(t.text, text)] = '\0';
        say(c, 0, text);
        free(text);
        return status == 403 ? MP_EXIT_NO_HOST : MP_EXIT_NO;
    }
    fprintf(stderr, "%s: the host answered with status %u\n", c->verb, status);
    return MP_EXIT_NO;
}

static int ask_host(struct mp_client *c, const char *method, const char *target,
                    struct mp_slice body, struct mp_buf *reply)
{
    struct mp_buf answer;
    struct mp_slice text = {NULL, 0};
    struct mp_why why;
    unsigned code;
    int fd = connect_to(c->socket), rc, status = MP_EXIT_DONE;

    if (fd < 0)
        return no_host(c);
    mp_buf_init(&answer, REPLY_MAX + (64 << 10));
    rc = exchange(fd, method, target, body, &answer, &why);
    close(fd);
    if (!rc)
        rc = mp_client_read(mp_buf_bytes(&answer), &code, &text, &why);
    if (rc)
        status = say(c, MP_EXIT_NO_HOST, why.text);
    else if (code < 200 || code > 299)
        status = refused(c, code, text);
    else
        mp_buf_slice(reply, text);
    mp_buf_fini(&answer);
    return status;
}

int mp_client_ask(struct mp_client *c, const char *method, const char *target,
                  struct mp_slice body, struct mp_buf *reply)
{
    int status;

    mp_buf_init(reply, REPLY_MAX);
    if (body.len > MP_BODY_MAX)
        return say(c, MP_EXIT_NO, "that is longer than 1 MiB");
    status = c->is_local ? ask_local(c, method, target, body, reply)
                         : ask_host(c, method, target, body, reply);
    if (status)
        mp_buf_fini(reply);
    return status;
}

int mp_client_ask_at(struct mp_client *c, const char *method,
                     struct mp_buf *target, struct mp_slice body,
                     struct mp_buf *reply)
{
    mp_buf_put(target, "", 1);
    if (target->full)
        return say(c, MP_EXIT_USAGE, "these names are too long");
    return mp_client_ask(c, method, target->ptr, body, reply);
}
