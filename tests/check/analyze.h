/*
 * analyze.h - what clang-tidy can't see from one file: a call that explains
 * what went wrong never returns 0.  tidy.sh puts it before each file.
 */
#include "core/base/why.h"

#define mp_why_set(why, code, ...) (mp_why_set(why, code, __VA_ARGS__), (code))
#define mp_why_errno(...) (mp_why_errno(__VA_ARGS__), MP_EIO)
