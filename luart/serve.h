/*
 * serve.h - the worker's loop: frames in, runs, frames out.
 *
 * Process  worker only.   Thread  one.
 * Memory   input: one frame, 64 KB at least; output: 32 KB and one outcome;
 *          waiting instances as large as what they have in use.
 * Errors   frames come from the host, which is trusted: a bad one is a bug.
 */
#ifndef MP_LUART_SERVE_H
#define MP_LUART_SERVE_H

#include "core/base/wire.h"

/* Serve until the other end of fd closes. */
void mp_serve(int fd, struct mp_page *page);

#endif
