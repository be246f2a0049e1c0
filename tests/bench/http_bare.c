/*
 * http_bare.c - the least a program can do with libmicrohttpd that answers a
 * request, in the mode of transports/http_server.c: connections are taken by a
 * libuv loop and handed over, the loop polls the library's epoll descriptor,
 * and the options are the same.  The handler says "ok".
 *
 *   http_bare PORT
 *
 * It says `ready` on stdout and runs until SIGTERM.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

enum {
    BACKLOG = 128,
    ACCEPT_TURN = 64,
    CONNECTIONS = 256,
    MEMORY = (8 << 10) + (18 << 10),
};

static uv_loop_t loop;
static uv_poll_t library, door;
static uv_idle_t idle;
static struct MHD_Daemon *server;
static int listener;

static void run(void);

static void on_idle(uv_idle_t *handle)
{
    uv_idle_stop(handle);
    run();
}

static void run(void)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(server);
    if (MHD_get_timeout(server, &ms) == MHD_YES)
        uv_idle_start(&idle, on_idle);
}

static void on_library(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)status, (void)events;
    run();
}

static void on_door(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)status, (void)events;
    for (int i = 0; i < ACCEPT_TURN; i++) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        int fd = accept4(listener, (struct sockaddr *)&from, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        if (MHD_add_connection(server, fd, (struct sockaddr *)&from, len) ==
            MHD_YES)
            uv_idle_start(&idle, on_idle);
    }
}

static enum MHD_Result on_call(void *arg, struct MHD_Connection *con,
                               const char *url, const char *method,
                               const char *version, const char *data,
                               size_t *len, void **context)
{
    static char ok[] = "ok";
    static int seen;
    struct MHD_Response *response;
    enum MHD_Result result;

    (void)arg, (void)method, (void)version, (void)data;
    if (!*context) { /* the head; what is answered comes at the end */
        *context = &seen;
        return MHD_YES;
    }
    if (*len) {
        *len = 0;
        return MHD_YES;
    }
    response = MHD_create_response_from_buffer(sizeof ok - 1, ok,
                                               MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type",
                            "text/plain; charset=utf-8");
    result = MHD_queue_response(
        con, strcmp(url, "/bench") == 0 ? MHD_HTTP_OK : MHD_HTTP_NOT_FOUND,
        response);
    MHD_destroy_response(response);
    return result;
}

static void must(int yes, const char *what)
{
    if (yes)
        return;
    fprintf(stderr, "http_bare: no %s\n", what);
    exit(1);
}

static void listen_on(uint16_t port)
{
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int one = 1;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    must(!bind(listener, (const struct sockaddr *)&at, sizeof at) &&
             !listen(listener, BACKLOG),
         "address");
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    listen_on((uint16_t)strtoul(argv[1], NULL, 10));
    server = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0,
        NULL, NULL, on_call, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    must(server != NULL, "daemon");
    must(!uv_loop_init(&loop), "loop");
    uv_idle_init(&loop, &idle);
    uv_poll_init(
        &loop, &library,
        MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    uv_poll_start(&library, UV_READABLE, on_library);
    uv_poll_init(&loop, &door, listener);
    uv_poll_start(&door, UV_READABLE, on_door);
    puts("ready");
    fflush(stdout);
    return uv_run(&loop, UV_RUN_DEFAULT);
}
