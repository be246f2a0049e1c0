/*
 * impl.h - what the files of core/api are to each other.
 *
 *   server.c   libmicrohttpd and the loop; a call's bytes in and out
 *   answers.c  what a call asks for
 *
 * A call may be answered while it is started or later; until then its
 * connection is suspended and costs nothing.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_API_IMPL_H
#define MP_API_IMPL_H

#include "core/admin.h"
#include "core/api.h"
#include "core/request.h"

struct MHD_Connection;
struct mp_reading;
struct mp_watch;

enum { MP_CALL_ID = 33 };

struct mp_call {
    struct mp_link link; /* of the server */
    struct mp_api_server *server;
    struct MHD_Connection *connection;
    struct mp_watch *watch; /* tells that the client went away while it waits */
    struct mp_request request;
    char *target; /* until it is parsed */
    struct mp_buf body;
    struct mp_slice content_type; /* of the body; ptr NULL: not given */
    size_t skipped;               /* bytes of it that nobody wants */
    bool parsed, started, suspended, answered;
    /* the answer */
    unsigned status;
    const char *type;
    struct mp_buf out;
    /* what it waits for */
    struct mp_admin admin;
    struct mp_state_ask ask;
    struct mp_told told;
    struct mp_commit_wait wait;
    struct mp_reading *reading;
    char id[MP_CALL_ID]; /* of the event that it sent */
};

/* ---- server.c ---- */

struct mp_host *mp_call_host(const struct mp_call *c);
/* The answer is in status, type and out. */
void mp_call_answer(struct mp_call *c, unsigned status);
/* Problem details, by a code of ours. */
void mp_call_fail(struct mp_call *c, int rc, const char *sentence);
void mp_call_problem(struct mp_call *c, unsigned status, const char *sentence);

/* ---- answers.c ---- */

/* The request is parsed and its body is there. */
void mp_call_start(struct mp_call *c);
/* Nobody waits for it any more. */
void mp_call_forget(struct mp_call *c);

#endif
