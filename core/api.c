/*
 * api.c - listens, looks who it is, and loads who answers.
 *
 * A unix socket's path has 108 bytes, a data directory's may have more: then
 * it is reached by its descriptor, /proc/self/fd/N.
 */
#include "core/api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"
#include "core/module.h"

static const char NAME[] = "moonpool.sock";

enum {
    BACKLOG = 16,     /* as many as are served at once */
    ACCEPT_TURN = 16, /* connections taken in one turn of the loop */
};

struct mp_api {
    struct mp_host *host;
    int dir_fd, fd;
    uv_poll_t poll;
    const struct mp_api_module *module; /* NULL: nobody has asked yet */
    struct mp_api_server *server;
};

/* ---- the socket ---- */

static int address(struct mp_api *api, const char *data, struct sockaddr_un *to,
                   struct mp_why *why)
{
    int len = snprintf(to->sun_path, sizeof to->sun_path, "%s/%s", data, NAME);

    to->sun_family = AF_UNIX;
    api->dir_fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (api->dir_fd < 0)
        return mp_why_errno(why, "open %s", data);
    if (len < 0 || (size_t)len >= sizeof to->sun_path)
        snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/%s",
                 api->dir_fd, NAME);
    return 0;
}

static int make_socket(struct mp_api *api, const char *data, struct mp_why *why)
{
    struct sockaddr_un to = {0};
    struct stat st;
    int rc = address(api, data, &to, why);

    if (rc)
        return rc;
    if (!fstatat(api->dir_fd, NAME, &st, AT_SYMLINK_NOFOLLOW) &&
        S_ISSOCK(st.st_mode))
        unlinkat(api->dir_fd, NAME, 0);
    api->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (api->fd < 0)
        return mp_why_errno(why, "make a socket");
    /* Its mode is set before anybody can connect: before listen. */
    if (bind(api->fd, (struct sockaddr *)&to, sizeof to) ||
        fchmodat(api->dir_fd, NAME, 0660, 0) || listen(api->fd, BACKLOG))
        return mp_why_errno(why, "listen on %s/%s", data, NAME);
    return 0;
}

/* ---- who may ask, and who answers ---- */

/* Before there is an HTTP server: the client has a sentence at least. */
static void refuse(int fd, const char *status, const char *sentence)
{
    char text[800];
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %s\r\nConnection: close\r\n"
                       "Content-Type: application/problem+json\r\n\r\n"
                       "{\"title\":\"%s\",\"status\":%.3s,\"detail\":\"%s\"}\n",
                       status, status + 4, status, sentence);

    (void)!send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* What nobody read would make the end a reset. */
    (void)!recv(fd, text, sizeof text, MSG_DONTWAIT);
    close(fd);
}

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static int load_module(struct mp_api *api, struct mp_why *why)
{
    const struct mp_api_module *module =
        mp_module("moonpool-api.so", "mp_api_module", why);
    int rc;

    if (!module)
        return MP_EIO;
    rc = module->open(&api->server, api->host, why);
    if (!rc)
        api->module = module;
    return rc;
}

static void serve(struct mp_api *api, int fd)
{
    struct mp_why why;

    if (!is_allowed(fd)) {
        refuse(fd, "403 Forbidden",
               "only the user of the host, and root, may ask it");
        return;
    }
    if (!api->module && load_module(api, &why)) {
        mp_log(MP_ERROR, "api", NULL, "can't load what answers: %s", why.text);
        refuse(fd, "503 Service Unavailable",
               "the host can't load moonpool-api.so; its log says why");
        return;
    }
    if (!api->module->add(api->server, fd))
        refuse(fd, "503 Service Unavailable", "too many clients ask at once");
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct mp_api *api = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_TURN; i++) {
        int fd = accept4(api->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return; /* none left; or one that went away, or no descriptors */
        serve(api, fd);
    }
}

int mp_api_open(struct mp_api **out, struct mp_host *h, struct mp_why *why)
{
    struct mp_api *api = mp_zalloc(sizeof *api);
    int rc;

    api->host = h;
    api->dir_fd = api->fd = -1;
    rc = make_socket(api, h->config->data, why);
    if (rc) {
        if (api->fd >= 0)
            close(api->fd);
        if (api->dir_fd >= 0)
            close(api->dir_fd);
        free(api);
        return rc;
    }
    uv_poll_init(h->loop, &api->poll, api->fd);
    api->poll.data = api;
    uv_poll_start(&api->poll, UV_READABLE, on_readable);
    *out = api;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct mp_api *api = handle->data;

    close(api->fd);
    close(api->dir_fd);
    free(api);
}

void mp_api_close(struct mp_api *api)
{
    if (!api)
        return;
    if (api->module)
        api->module->close(api->server);
    unlinkat(api->dir_fd, NAME, 0);
    uv_close((uv_handle_t *)&api->poll, on_closed);
}
