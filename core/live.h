/*
 * live.h - the figures a person looks at: a line each second, and all of
 * them as text in the Prometheus exposition format.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_LIVE_H
#define MP_LIVE_H

#include "core/host.h"

/*
 * Print a status line to stdout each second from now on; on a terminal it
 * stays at the bottom, log lines pass above it.
 */
void mp_live_open(struct mp_host *host);
void mp_live_close(void);

/* Every counter and histogram, by its name in the reference. */
void mp_live_metrics(const struct mp_host *host, struct mp_buf *out);

#endif
