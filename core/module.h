/*
 * module.h - parts of the host that are loaded when they are needed, so that
 * who doesn't use them doesn't carry their libraries.
 *
 * A module is a shared object beside moonpool-worker, of the same build; it
 * uses what the host has by name, and shows one structure.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   it stays loaded: its code may be running.
 * Errors   NULL, with the loader's sentence.
 */
#ifndef MP_MODULE_H
#define MP_MODULE_H

#include "core/base/why.h"

const void *mp_module(const char *file, const char *symbol, struct mp_why *why);

#endif
