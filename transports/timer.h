/*
 * timer.h - the transport that brings what runs by the clock.
 */
#ifndef MP_TIMER_H
#define MP_TIMER_H

#include "core/transport.h"

extern const struct mp_transport mp_timer;

#endif
