/*
 * server.c - libmicrohttpd on our loop.
 *
 * The library has no thread and no listening socket of its own: connections
 * are handed to it, its epoll descriptor is polled by the loop, and it runs
 * when that is readable, when its own time is up, or when an answer is there.
 *
 *   request line ─► headers ─► body ... ─► start ─► (suspended) ─► answer
 *     on_uri          on_call  on_call     on_call                  on_call
 *
 * A suspended connection is not watched by the library.  We look ourselves
 * whether its client is still there, so that sixteen clients that gave up
 * waiting don't lock others out.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "core/api/impl.h"
#include "core/show.h"

enum {
    CONNECTIONS = 16,  /* at once; people and scripts, not devices */
    IDLE_S = 10,       /* a silent connection is closed after this */
    MEMORY = 32 << 10, /* of one: its request line and headers */
    /* Of a body that is too long so much is read before the connection is
     * closed, so that most clients get to read why. */
    TOO_MUCH = 4 * MP_BODY_MAX,
    LAST_RUNS = 3, /* to send what is left to say at the end */
};

struct mp_api_server {
    struct mp_host *host;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    struct mp_link calls;
    unsigned handles; /* open ones of the two */
};

struct mp_host *mp_call_host(const struct mp_call *c)
{
    return c->server->host;
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

static void run(struct mp_api_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        uv_timer_start(&s->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&s->timer);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* ---- who waits ---- */

struct mp_watch {
    uv_poll_t poll;
    int fd; /* a copy: the connection's own is the library's */
    struct mp_call *call;
};

static void free_watch(uv_handle_t *handle)
{
    struct mp_watch *w = mp_of(handle, struct mp_watch, poll);

    close(w->fd);
    free(w);
}

static void unwatch(struct mp_call *c)
{
    if (c->watch)
        uv_close((uv_handle_t *)&c->watch->poll, free_watch);
    c->watch = NULL;
}

static void on_gone(uv_poll_t *poll, int status, int events)
{
    struct mp_call *c = mp_of(poll, struct mp_watch, poll)->call;

    (void)status;
    (void)events;
    mp_call_forget(c);
    mp_call_problem(c, 408, "the client went away");
}

static void watch(struct mp_call *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = info ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 0) : -1;
    struct mp_watch *w;

    if (fd < 0)
        return;
    w = mp_zalloc(sizeof *w);
    w->fd = fd;
    w->call = c;
    uv_poll_init(c->server->host->loop, &w->poll, fd);
    uv_poll_start(&w->poll, UV_DISCONNECT, on_gone);
    c->watch = w;
}

/* ---- answers ---- */

void mp_call_answer(struct mp_call *c, unsigned status)
{
    MP_ASSERT(!c->answered);
    c->answered = true;
    c->status = status;
    if (!c->suspended)
        return;
    c->suspended = false;
    unwatch(c);
    MHD_resume_connection(c->connection);
    uv_timer_start(&c->server->timer, on_timer, 0, 0);
}

static const char *title_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
        if (titles[i].status == status)
            return titles[i].title;
    }
    return "Error";
}

void mp_call_problem(struct mp_call *c, unsigned status, const char *sentence)
{
    struct mp_buf text;

    mp_buf_init(&text, MP_BODY_MAX);
    mp_show_problem(status, title_of(status), sentence, &text);
    mp_buf_fini(&c->out); /* what sentence may stand in */
    c->out = text;
    c->type = "application/problem+json";
    mp_call_answer(c, status);
}

void mp_call_fail(struct mp_call *c, int rc, const char *sentence)
{
    static const unsigned statuses[] = {
        [-MP_EIO] = 503,    [-MP_EFULL] = 507, [-MP_ERANGE] = 400,
        [-MP_EPARSE] = 400, [-MP_ENONE] = 404, [-MP_EDENY] = 409,
        [-MP_EAGAIN] = 503,
    };

    mp_call_problem(c, statuses[-rc], sentence);
}

static enum MHD_Result reply(struct mp_call *c)
{
    struct MHD_Response *response;
    enum MHD_Result result;
    char none[] = "";

    response = MHD_create_response_from_buffer(
        c->out.len, c->out.ptr ? c->out.ptr : none, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", c->type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    result = MHD_queue_response(c->connection, c->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- a call ---- */

static void *on_uri(void *server, const char *uri, struct MHD_Connection *con)
{
    struct mp_api_server *s = server;
    struct mp_call *c = mp_zalloc(sizeof *c);

    c->server = s;
    c->connection = con;
    c->target = mp_strndup(uri, strlen(uri));
    c->type = "application/json";
    mp_buf_init(&c->body, MP_BODY_MAX);
    mp_buf_init(&c->out, MP_SHOWN_MAX);
    mp_list_append(&s->calls, &c->link);
    return c;
}

static void on_completed(void *server, struct MHD_Connection *con,
                         void **context, enum MHD_RequestTerminationCode code)
{
    struct mp_call *c = *context;

    (void)server;
    (void)con;
    (void)code;
    if (!c)
        return;
    mp_call_forget(c);
    unwatch(c);
    mp_list_unlink(&c->link);
    mp_request_fini(&c->request);
    mp_buf_fini(&c->body);
    mp_buf_fini(&c->out);
    free(c->target);
    free(c);
    *context = NULL;
}

static void parse(struct mp_call *c, const char *method)
{
    const char *type = MHD_lookup_connection_value(
        c->connection, MHD_HEADER_KIND, "Content-Type");
    struct mp_why why;
    int rc = mp_request_parse(&c->request, mp_slice_str(method),
                              mp_slice_str(c->target), &why);

    c->parsed = true;
    c->content_type = mp_slice_str(type);
    if (rc == MP_EDENY)
        mp_call_problem(c, 405, why.text);
    else if (rc)
        mp_call_fail(c, rc, why.text);
}

/* False: enough of it. */
static bool take_body(struct mp_call *c, const char *bytes, size_t len)
{
    if (!c->answered)
        mp_buf_put(&c->body, bytes, len);
    if (c->body.full && !c->answered)
        mp_call_problem(c, 413, "a body has at most 1 MiB");
    c->skipped += c->answered ? len : 0;
    return c->skipped <= TOO_MUCH;
}

static enum MHD_Result on_call(void *server, struct MHD_Connection *con,
                               const char *url, const char *method,
                               const char *version, const char *data,
                               size_t *len, void **context)
{
    struct mp_call *c = *context;

    (void)server;
    (void)con;
    (void)url;
    (void)version;
    if (!c->parsed) { /* the headers are there; the body comes */
        parse(c, method);
        return MHD_YES;
    }
    if (*len) {
        bool more = take_body(c, data, *len);

        *len = 0;
        return more ? MHD_YES : MHD_NO;
    }
    if (!c->answered && !c->started) {
        c->started = true;
        mp_call_start(c);
    }
    if (c->answered)
        return reply(c);
    if (!c->suspended) {
        c->suspended = true;
        MHD_suspend_connection(con);
        watch(c);
    }
    return MHD_YES;
}

/* ---- the module ---- */

static int server_open(struct mp_api_server **out, struct mp_host *h,
                       struct mp_why *why)
{
    struct mp_api_server *s = mp_zalloc(sizeof *s);

    s->host = h;
    mp_list_init(&s->calls);
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0,
        NULL, NULL, on_call, s, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, s, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, s, MHD_OPTION_END);
    if (!s->daemon) {
        free(s);
        return mp_why_errno(why, "start the HTTP server");
    }
    uv_timer_init(h->loop, &s->timer);
    uv_poll_init(
        h->loop, &s->poll,
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    s->timer.data = s->poll.data = s;
    s->handles = 2;
    uv_poll_start(&s->poll, UV_READABLE, on_ready);
    *out = s;
    return 0;
}

static bool server_add(struct mp_api_server *s, int fd)
{
    struct sockaddr from = {.sa_family = AF_UNIX};

    if (MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
            ->num_connections >= CONNECTIONS)
        return false;
    if (MHD_add_connection(s->daemon, fd, &from, sizeof from) == MHD_YES)
        run(s);
    return true;
}

static void on_closed(uv_handle_t *handle)
{
    struct mp_api_server *s = handle->data;

    if (--s->handles == 0)
        free(s);
}

/* A suspended connection may not be there when the library stops. */
static void server_close(struct mp_api_server *s)
{
    mp_list_each (at, &s->calls) {
        struct mp_call *c = mp_of(at, struct mp_call, link);

        mp_call_forget(c);
        if (c->suspended)
            mp_call_problem(c, 503, "the host is stopping");
    }
    for (int i = 0; i < LAST_RUNS; i++)
        MHD_run(s->daemon);
    uv_poll_stop(&s->poll);
    MHD_stop_daemon(s->daemon);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

const struct mp_api_module mp_api_module = {server_open, server_add,
                                            server_close};
