/*
 * text.h - small questions about words, for messages that help.
 *
 * Thread   any.   Memory  none.
 */
#ifndef MP_BASE_TEXT_H
#define MP_BASE_TEXT_H

#include "core/base/slice.h"

/*
 * The word of the list that was probably meant: the first of the nearest
 * ones, at most two edits away (a letter put in, left out, changed, or two
 * neighbours swapped), one for words of up to four letters.  NULL: none is
 * near, or it is there as written.
 */
const char *mp_nearest(struct mp_slice word, const char *const *words,
                       size_t n);

/* s without blanks (space, tab, CR, LF) at both ends. */
struct mp_slice mp_trim(struct mp_slice s);

/* At most max bytes of s, not cut inside a UTF-8 sequence. */
struct mp_slice mp_cut(struct mp_slice s, size_t max);

bool mp_has(struct mp_slice s, char c);
bool mp_starts(struct mp_slice s, const char *with);
bool mp_ends(struct mp_slice s, const char *with);

/*
 * Take what stands before the first sep off the front of rest (and the sep
 * with it); all of it when there is none.  False: nothing was left, rest.ptr
 * is NULL then.  An empty text is one empty part.
 */
bool mp_split(struct mp_slice *rest, char sep, struct mp_slice *part);

#endif
