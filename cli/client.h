/*
 * client.h - asks the host that has a data directory; when none runs, the
 * directory's database.
 *
 * Both know the same paths (core/request.h), so a verb is written once:
 *
 *     status = mp_client_open(&c, "moonpool dlq", &flags, true);
 *     if (!status)
 *         status = mp_client_ask(&c, "GET", "/v1/dead-letters", body, &reply);
 *
 * Never both: the database is touched only with the lock of the directory,
 * which a running host holds.
 *
 * Process  command line.   Thread  one.
 * Memory   a reply is the caller's; mp_buf_fini.
 * Errors   an exit status; the sentence went to stderr.
 */
#ifndef MP_CLIENT_H
#define MP_CLIENT_H

#include "cli/flags.h"
#include "core/base/slice.h"

/* The flags that say who is asked; the same in every verb. */
struct mp_client_flags {
    const char *host;   /* --host */
    const char *config; /* --config */
    const char *store;  /* --store */
    bool json;          /* --json */
};

#define MP_CLIENT_FLAGS(f)                                                     \
    {.name = "json",                                                           \
     .help = "as JSON; of a list, an object a line",                           \
     .on = &(f)->json},                                                        \
        {.name = "host",                                                       \
         .arg = "SOCKET",                                                      \
         .help = "ask this host; default: $MOONPOOL_HOST, else that of the "   \
                 "data directory",                                             \
         .text = &(f)->host},                                                  \
        {.name = "config",                                                     \
         .arg = "FILE",                                                        \
         .help = "says where the data directory is",                           \
         .text = &(f)->config},                                                \
    {                                                                          \
        .name = "store", .arg = "DIR",                                         \
        .help = "the data directory, as in run --data DIR",                    \
        .text = &(f)->store                                                    \
    }

struct mp_client;

/* offline: the database will do when no host runs. */
int mp_client_open(struct mp_client **c, const char *verb,
                   const struct mp_client_flags *flags, bool offline);
void mp_client_close(struct mp_client *c);

/*
 * Ask.  The reply's JSON (init'ed here) on 0; MP_EXIT_NO: the answer is no,
 * and that was said; MP_EXIT_NO_HOST: no whole answer came.
 */
int mp_client_ask(struct mp_client *c, const char *method, const char *target,
                  struct mp_slice body, struct mp_buf *reply);

/* As that, with a target put together: mp_request_put for its parts. */
int mp_client_ask_at(struct mp_client *c, const char *method,
                     struct mp_buf *target, struct mp_slice body,
                     struct mp_buf *reply);

/* ---- for tests: the bytes ---- */

/* Split a whole answer (until the connection ended).  MP_EPARSE: it is none,
 * or not whole. */
MP_MUST int mp_client_read(struct mp_slice bytes, unsigned *status,
                           struct mp_slice *body, struct mp_why *why);

#endif
