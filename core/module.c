/*
 * module.c - dlopen, beside the worker.
 */
#include "core/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/worker.h"

const void *mp_module(const char *file, const char *symbol, struct mp_why *why)
{
    char dir[PATH_MAX], path[PATH_MAX + NAME_MAX];
    void *object;
    const void *shown;

    if (!realpath(mp_worker_program(), dir)) {
        mp_why_errno(why, "find %s", mp_worker_program());
        return NULL;
    }
    *strrchr(dir, '/') = '\0';
    snprintf(path, sizeof path, "%s/%s", dir, file);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    shown = object ? dlsym(object, symbol) : NULL;
    if (!shown)
        mp_why_set(why, MP_EIO, "%s", dlerror());
    return shown;
}
