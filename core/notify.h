/*
 * notify.h - tells the service manager how we are (sd_notify(3): datagrams
 * to the socket named by NOTIFY_SOCKET; nothing happens without it).
 *
 * Process  host only.   Thread  loop thread.
 * Errors   a manager that doesn't listen is no error.
 */
#ifndef MP_NOTIFY_H
#define MP_NOTIFY_H

#include <stdint.h>

/* "READY=1\nSTATUS=...", "WATCHDOG=1", "STOPPING=1" */
void mp_notify(const char *state);

/* How often WATCHDOG=1 is wanted, microseconds; 0: not at all. */
int64_t mp_notify_watchdog_us(void);

#endif
