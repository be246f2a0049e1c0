/*
 * crash.h - places where a test may cut the power.
 *
 * MP_CRASH_POINT("name") is nothing, unless built with CRASH=1: then the
 * process kills itself there with SIGKILL when MP_CRASH_AT is "name", or at
 * the Nth passing when it is "name:N".  `make crash` visits them all.  With
 * MP_CRASH_ABORT it ends by abort(), as a bug of its own would end it.
 *
 * Thread   any; passings are counted over all threads.
 */
#ifndef MP_BASE_CRASH_H
#define MP_BASE_CRASH_H

#ifdef MP_CRASH
void mp_crash_point(const char *name);
#define MP_CRASH_POINT(name) mp_crash_point(name)
#else
#define MP_CRASH_POINT(name) ((void)0)
#endif

#endif
