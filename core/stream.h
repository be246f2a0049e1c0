/*
 * stream.h - what a trigger does with an event before any Lua: its lines
 * filter, deadband, throttle, coalesce and batch, in this order.
 *
 *   event --> filter --> deadband --> throttle --> coalesce --> batch --> pass
 *               |           |            |            |
 *               +-----------+------------+------------+------------> skip
 *
 * Every item that is put comes back exactly once: by pass (alone, or with
 * others of its batch, in the order they came), by skip with a reason, or by
 * mp_stream_remove.
 *
 *   filter    a condition (core/expr.h), given twice: both must hold.
 *   deadband  the first event of a key passes; then one in which a field has
 *             moved by STEP or more since an event last passed *this line* (a
 *             later line may still have skipped that one); or when that was
 *             D ago.  All fields of the one that passes are remembered.  A
 *             field that isn't there hasn't moved, and keeps what is
 *             remembered; one that was never there before has.  STEP% is of
 *             the remembered value.  STEP 0, a STEP% of zero, and whatever is
 *             no number: any change, also of the type, counts.  A step of 0.1
 *             is what people mean by it: 20.3 after 20.2 has moved.
 *   throttle  a bucket of N tokens, full at first; N come back in the time.
 *   coalesce  latest: the first event opens a window, its last one passes D
 *             later.  settled: an event passes when none followed for D.  The
 *             others are skipped.
 *   batch     the first event opens it; it passes with the Nth, D later, or
 *             before an event that would make it larger than
 *             MP_STREAM_BATCH_BYTES.  With a [state] key, of one actor.
 *
 * `per T` gives each line a memory for each key; the keys of an event are
 * made before any memory is touched, and an event that lacks one of them is
 * skipped (MP_STREAM_NO_KEY).  At limits.tracked keys the one seen least
 * recently is forgotten; a window is let go first, as if its time were up.
 *
 * No clock is inside: now_us is the monotonic time of the caller and never
 * goes back.  Inside pass and skip nothing but mp_stream_remove may be called.
 *
 * Process  host and command line.   Thread  loop thread.
 * Memory   lines: about 15 KB a trigger that has some.  Memories, a key:
 *          throttle 40 bytes, deadband 40 and 16 a field, windows 72, and 4
 *          to 8 in a table; at most limits.tracked of a line, 16 at a time,
 *          kept until fini.  Items belong to the caller.
 * Errors   of lines, a sentence; of events none.
 */
#ifndef MP_STREAM_H
#define MP_STREAM_H

#include "core/base/list.h"
#include "core/expr.h"
#include "core/lru.h"
#include "core/template.h"

enum {
    MP_STREAM_DEADBAND_MAX = 8, /* fields of one deadband */
    MP_STREAM_BATCH_MAX = 1000, /* events of one batch */
    /* Payloads of one batch: a quarter of a frame, so that with all that
     * comes along it fits one. */
    MP_STREAM_BATCH_BYTES = 4 << 20,
};

enum mp_stream_line {
    MP_LINE_FILTER,
    MP_LINE_DEADBAND,
    MP_LINE_THROTTLE,
    MP_LINE_COALESCE,
    MP_LINE_BATCH,
    MP_STREAM_LINES
};

/* "filter", "deadband", ... */
const char *mp_stream_line_name(enum mp_stream_line line);

/* The lines of one trigger, read and never changed again. */
struct mp_stream_lines {
    char *texts[MP_STREAM_LINES]; /* as written; NULL: not there */
    struct mp_fields fields;
    struct mp_expr filter;
    struct mp_template per[MP_STREAM_LINES];
    struct mp_deadband {
        unsigned n;
        struct mp_deadband_field {
            int field;
            double step;
            bool percent;
        } fields[MP_STREAM_DEADBAND_MAX];
        int64_t every_us; /* 0: not */
    } deadband;
    uint32_t throttle_depth;
    int64_t throttle_ns; /* one token */
    bool settled;        /* coalesce: else latest */
    int64_t coalesce_us;
    uint32_t batch_max;
    int64_t batch_us;
};

struct mp_stream_lines *mp_stream_lines_new(void);
void mp_stream_lines_free(struct mp_stream_lines *l);

/*
 * Read the value of a line.  The sentence of why goes behind "LINE = VALUE: ".
 * Only filter may be given twice.  After an error l can only be freed.
 */
MP_MUST int mp_stream_lines_add(struct mp_stream_lines *l,
                                enum mp_stream_line line, struct mp_slice value,
                                struct mp_why *why);

static inline bool mp_stream_lines_has(const struct mp_stream_lines *l,
                                       enum mp_stream_line line)
{
    return l->texts[line] != NULL;
}

/* The n-th name of a pattern that a line uses, from 0; ptr NULL: there are no
 * more.  Each pattern must bind it; those of the batch are its event's params.
 */
struct mp_slice mp_stream_lines_param(const struct mp_stream_lines *l,
                                      enum mp_stream_line line, unsigned n);

/* Do the lines name a field other than data?  Not for format = text, bytes. */
bool mp_stream_lines_read_fields(const struct mp_stream_lines *l);

/* How long an event may wait in windows; 0: there are none.  (settled: if no
 * other follows.) */
int64_t mp_stream_lines_wait_us(const struct mp_stream_lines *l);

/* An event as the lines see it. */
struct mp_stream_event {
    struct mp_slice data, datacontenttype; /* the latter's ptr NULL: none */
    enum mp_format format;
    const struct mp_pair *params;
    unsigned n_params;
    struct mp_slice key; /* actor key, when has_key */
    bool has_key;
    size_t bytes; /* what it takes in a batch; data at least */
};

/* Its fields, where they are read once for several questions. */
struct mp_stream_values {
    struct mp_field_value values[MP_FIELDS_MAX];
};

/*
 * Read the fields of an event.  Does it pass the filter?  (The router asks,
 * trigger after trigger; the one that takes the event gives values to
 * mp_stream_put.)
 */
bool mp_stream_wants(const struct mp_stream_lines *l,
                     const struct mp_stream_event *event,
                     struct mp_stream_values *values);

enum mp_stream_why {
    MP_STREAM_FILTER,
    MP_STREAM_DEADBAND,
    MP_STREAM_THROTTLE,
    MP_STREAM_COALESCE,
    MP_STREAM_NO_KEY, /* lost: a name of `per` isn't there, or no key */
    MP_STREAM_WHYS
};

/* "filter", ..., "no_key" */
const char *mp_stream_why_name(enum mp_stream_why why);

/* A place in a window, inside what the host puts.  Zeroed or as the stream
 * left it; link is free for the host while in is MP_HELD_NOT. */
struct mp_held {
    struct mp_link link;
    struct mp_hash batch; /* key of the batch it will be in */
    uint32_t window, bytes;
    enum { MP_HELD_NOT, MP_HELD_COALESCE, MP_HELD_BATCH } in;
};

struct mp_stream_user {
    /* Run these n (1 without batch) together: items is a list of their links,
     * which pass must empty. */
    void (*pass)(void *arg, struct mp_link *items, unsigned n);
    void (*skip)(void *arg, struct mp_held *item, enum mp_stream_why why);
    void *arg;
};

struct mp_windows {
    struct mp_lru keys;
    uint32_t first, last; /* by when their time is up */
    int64_t within_us;
};

/* One trigger at work; private but for lines and held. */
struct mp_stream {
    const struct mp_stream_lines *lines;
    struct mp_stream_user user;
    struct mp_hash_key secret;
    struct mp_lru deadband, throttle;
    struct mp_windows coalesce, batch;
    unsigned held; /* items that wait in windows */
};

/* lines are borrowed; tracked: limits.tracked.  secret: of the host, for
 * hashes of keys. */
void mp_stream_init(struct mp_stream *s, const struct mp_stream_lines *lines,
                    uint32_t tracked, const struct mp_hash_key *secret,
                    const struct mp_stream_user *user);
/* Nothing may wait: flush or remove first. */
void mp_stream_fini(struct mp_stream *s);

/*
 * A new version takes over from the old one (same secret): where the line of
 * deadband or throttle is written the same, its memories go on; the others
 * begin anew.  s is new; the windows of old were flushed.
 */
void mp_stream_adopt(struct mp_stream *s, struct mp_stream *old);

/* Nothing of what has passed may be believed to be done: deadband and throttle
 * forget it.  Nothing may wait in windows. */
void mp_stream_forget(struct mp_stream *s);

/*
 * An event.  values: as mp_stream_wants told, which was true; NULL: not read.
 * What is due by now passes before it.  pass or skip may come within.
 */
void mp_stream_put(struct mp_stream *s, struct mp_held *item,
                   const struct mp_stream_event *event,
                   const struct mp_stream_values *values, int64_t now_us);

/*
 * The same in two steps, where something may come between them.  Judge: the
 * lines before the windows; enter: from that line on (COALESCE or BATCH), as
 * well for what was judged long ago and was kept meanwhile.  Both return -1,
 * or why the event is skipped (skip is not called for that).  After judge the
 * item knows the key of its batch.
 */
MP_MUST int mp_stream_judge(struct mp_stream *s, struct mp_held *item,
                            const struct mp_stream_event *event,
                            const struct mp_stream_values *values,
                            int64_t now_us);
MP_MUST int mp_stream_enter(struct mp_stream *s, struct mp_held *item,
                            enum mp_stream_line from,
                            const struct mp_stream_event *event,
                            const struct mp_stream_values *values,
                            int64_t now_us);

/* The item learns the key of its batch, and nothing else happens.  False: it
 * has none. */
bool mp_stream_mark(struct mp_stream *s, struct mp_held *item,
                    const struct mp_stream_event *event);
/* There is no room for what waits: let the window go whose time would be up
 * first. */
void mp_stream_press(struct mp_stream *s, int64_t now_us);

/* When mp_stream_turn has something to do; INT64_MAX: nothing waits. */
int64_t mp_stream_next_us(const struct mp_stream *s);
/* Let the windows go whose time is up. */
void mp_stream_turn(struct mp_stream *s, int64_t now_us);
/* Let all windows go: the host stops, or the function changes. */
void mp_stream_flush(struct mp_stream *s);
/* Take an item out of its window (it expired): it is the host's again.  False:
 * it was in none. */
bool mp_stream_remove(struct mp_stream *s, struct mp_held *item);

#endif
