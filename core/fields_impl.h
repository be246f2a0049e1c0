/*
 * fields_impl.h - one scanner for JSON and CBOR, and where reading stands; for
 * fields*.c only.
 */
#ifndef MP_FIELDS_IMPL_H
#define MP_FIELDS_IMPL_H

#include "core/base/json.h"
#include "core/fields.h"

/* Of struct mp_fields: the node that is the payload. */
enum { MP_FIELDS_ROOT = 1 };

static inline struct mp_slice mp_field_name(const struct mp_fields *f,
                                            const struct mp_field_node *n)
{
    return mp_slice(f->text + n->name, n->len);
}

/* What both scanners tell: a token of core/base/json.h. */
struct mp_token {
    struct mp_json_token json;
    /* CBOR only: */
    struct mp_json_number number; /* a NUMBER, or a NAME with is_number */
    bool is_number;               /* the name is an integer */
    bool other; /* a value (kind NULL) or name that JSON doesn't know */
};

struct mp_cscan {
    const char *start, *at, *end;
    unsigned depth;
    bool told; /* the one value at depth 0 was begun */
    struct mp_cscan_level {
        uint64_t left; /* items, or members, still to come */
        bool map, endless, value_next;
    } levels[MP_JSON_DEPTH_MAX];
};

void mp_cscan_init(struct mp_cscan *c, struct mp_slice bytes);
/* 0 or MP_EPARSE; no sentence, nobody would read it. */
MP_MUST int mp_cscan_next(struct mp_cscan *c, struct mp_token *t);
MP_MUST int mp_cscan_skip(struct mp_cscan *c, const struct mp_token *t);

struct mp_scan {
    bool cbor;
    struct mp_json json_scan;
    struct mp_cscan cbor_scan;
};

MP_MUST int mp_scan_next(struct mp_scan *s, struct mp_token *t);
MP_MUST int mp_scan_skip(struct mp_scan *s, const struct mp_token *t);
/* The value that t is, or begins; of the latter text is set at its end. */
void mp_scan_value(const struct mp_scan *s, const struct mp_token *t,
                   struct mp_field_value *v);

struct mp_walk {
    const struct mp_fields *f;
    struct mp_scan scan;
    struct mp_field_value *values;
    unsigned found; /* bit n: path n is there */
    unsigned depth; /* lists and objects that we are in */
    struct mp_walk_level {
        uint16_t node;
        bool list;
        uint32_t next; /* place of the next item */
        size_t at;     /* where it started */
    } levels[MP_JSON_DEPTH_MAX + 1];
};

/* Read a pack; scan stands at its start. */
MP_MUST int mp_senml_read(struct mp_walk *w);

#endif
