/*
 * api.h - DATA/moonpool.sock: how a person on this machine asks the host.
 *
 * The REST interface over HTTP/1.1 on a unix socket.  Who may connect is the
 * host's own user, or root.  A host that nobody asks carries no HTTP server:
 * the library and what answers (core/api) are a shared object,
 * moonpool-api.so beside moonpool-worker, loaded with the first connection.
 *
 * Process  host only.   Thread  loop thread.
 * Errors   opening fails when the socket can't be made; when the shared
 *          object can't be loaded, clients are told so.
 */
#ifndef MP_API_H
#define MP_API_H

#include "core/host.h"

struct mp_api;

/* Needs the lock of the data directory: a socket that is there is stale. */
MP_MUST int mp_api_open(struct mp_api **api, struct mp_host *h,
                        struct mp_why *why);
/* Answers whoever waits with 503, and removes the socket.  The loop must run
 * on until its handles are closed.  NULL is fine. */
void mp_api_close(struct mp_api *api);

/* ---- between api.c and the shared object ---- */

struct mp_api_server;

struct mp_api_module {
    MP_MUST int (*open)(struct mp_api_server **s, struct mp_host *h,
                        struct mp_why *why);
    /* Serve this connection, and take fd.  False: too many are served. */
    bool (*add)(struct mp_api_server *s, int fd);
    void (*close)(struct mp_api_server *s);
};

/* The name that api.c looks for. */
extern const struct mp_api_module mp_api_module;

#endif
