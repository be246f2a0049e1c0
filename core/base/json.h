/*
 * json.h - reads and writes JSON (RFC 8259) without building anything.
 *
 * The scanner is pulled: each call of mp_json_next checks and tells one token
 * of the text.  It is strict: no trailing commas, leading zeros, comments,
 * byte order mark, control bytes in strings, lone surrogates or bad UTF-8,
 * and nothing but white space after the value.  What it has told is right,
 * so the helpers that turn tokens into values can't fail on grammar.
 *
 *   while (!(rc = mp_json_next(&s, &t, why)) && t.kind != MP_JSON_END)
 *       ...
 *
 * The writers append to a buffer; check its `full` once at the end.
 *
 * Thread   any; a scanner belongs to one thread.
 * Memory   none; tokens borrow from the text.
 * Errors   MP_EPARSE with "expected ... at byte N", counted from 1.  After an
 *          error the scanner tells that same error again.
 */
#ifndef MP_BASE_JSON_H
#define MP_BASE_JSON_H

#include "core/base/slice.h"

enum {
    /* Lists and objects within each other: one bit each in a word. */
    MP_JSON_DEPTH_MAX = 64,
    /* Bytes of one number: 1e308 in full has 309.  Longer ones are refused,
     * so that a conversion needs no memory but this. */
    MP_JSON_NUMBER_MAX = 1024,
    /* Room that mp_json_int_text and mp_json_double_text need. */
    MP_JSON_NUMBER_TEXT = 40,
};

enum mp_json_kind {
    MP_JSON_END, /* of the text */
    MP_JSON_NULL,
    MP_JSON_FALSE,
    MP_JSON_TRUE,
    MP_JSON_NUMBER,
    MP_JSON_STRING,
    MP_JSON_NAME,   /* of a member; its value comes next */
    MP_JSON_LIST,   /* [ */
    MP_JSON_OBJECT, /* { */
    MP_JSON_CLOSE,  /* ] or } */
};

struct mp_json_token {
    enum mp_json_kind kind;
    bool escaped;         /* strings and names: has backslashes */
    bool integer;         /* numbers: no fraction, no exponent */
    struct mp_slice text; /* strings and names: what the quotes hold */
    size_t at;            /* where it starts, counted from 0 */
};

/* Private, but for depth: lists and objects that are open. */
struct mp_json {
    const char *start, *at, *end;
    uint64_t objects; /* bit n: what is open at depth n + 1 is an object */
    unsigned depth;
    unsigned state;
};

void mp_json_init(struct mp_json *s, struct mp_slice text);

MP_MUST int mp_json_next(struct mp_json *s, struct mp_json_token *t,
                         struct mp_why *why);

/*
 * Skip the rest of the value that t, the last token told, began: after a LIST
 * or OBJECT up to and with its CLOSE; after a NAME the member's value; after
 * any other nothing.
 */
MP_MUST int mp_json_skip(struct mp_json *s, const struct mp_json_token *t,
                         struct mp_why *why);

/*
 * Write what a string token means to out, which has room for text.len bytes
 * (and may be text itself), and return its length.
 */
size_t mp_json_unescape(struct mp_slice text, char *out);

/* Is the string or name token t this text? */
bool mp_json_is(const struct mp_json_token *t, struct mp_slice text);

struct mp_json_number {
    bool is_int; /* then integer, else real */
    int64_t integer;
    double real;
};

/*
 * What a number token means: an integer when it is written as one and fits 64
 * bits (-0 is 0), else the nearest double.  MP_ERANGE: beyond what a double
 * holds.
 */
MP_MUST int mp_json_number(const struct mp_json_token *t,
                           struct mp_json_number *n);

/* ---- writing ---- */

/*
 * A string with its quotes.  Each byte that isn't UTF-8 becomes U+FFFD, so
 * that the result always is JSON; false tells that there was one.
 */
bool mp_json_put_string(struct mp_buf *b, struct mp_slice s);
void mp_json_put_int(struct mp_buf *b, int64_t n);
/*
 * The shortest of %.15g, %.16g and %.17g that reads back as the same double,
 * with ".0" where it would look like an integer.  Not for NaN or infinities:
 * these become null.
 */
void mp_json_put_double(struct mp_buf *b, double d);
void mp_json_put_bool(struct mp_buf *b, bool yes);
void mp_json_put_null(struct mp_buf *b);

/* The same into text; returns the length.  No NUL is added. */
size_t mp_json_int_text(int64_t n, char text[MP_JSON_NUMBER_TEXT]);
size_t mp_json_double_text(double d, char text[MP_JSON_NUMBER_TEXT]);

#endif
