/*
 * worker.c - moonpool-worker: runs functions in a cage.
 *
 * Started by moonpool-host and by `moonpool invoke`, never by hand: it finds
 * its socket at MP_FD_SOCKET, the shared page at MP_FD_PAGE, and the process
 * that started it as its only argument.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luart/cage.h"
#include "luart/image.h"
#include "luart/run.h"
#include "luart/serve.h"

/* A Ctrl-C or a stop of the service is the host's to answer: it drains. */
static void leave_stopping_to_the_host(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        signal(signals[i], SIG_IGN);
}

static int start(pid_t parent, struct mp_page **page, struct mp_why *why)
{
    int rc;

    *page = mmap(NULL, sizeof **page, PROT_READ | PROT_WRITE, MAP_SHARED,
                 MP_FD_PAGE, 0);
    if (*page == MAP_FAILED)
        return mp_why_errno(why, "map the shared page");
    rc = mp_run_open(*page, why);
    if (!rc)
        rc = mp_image_seed(why);
    if (!rc)
        rc = mp_cage_enter(parent, MP_FD_SOCKET, why);
    return rc;
}

int main(int argc, char **argv)
{
    struct mp_page *page;
    struct mp_why why;

    if (argc != 2) {
        fprintf(stderr, "moonpool-worker is started by moonpool-host\n");
        return 2;
    }
    leave_stopping_to_the_host();
    if (start((pid_t)atol(argv[1]), &page, &why)) {
        fprintf(stderr, "moonpool-worker: %s\n", why.text);
        return 1;
    }
    mp_serve(MP_FD_SOCKET, page);
    /* Nothing to put in order: memory is all we have. */
    _exit(0);
}
