/*
 * rows.h - one effect of each kind, a value of each, verdicts.
 */
#ifndef MP_TESTS_CORPUS_WIRE_ROWS_H
#define MP_TESTS_CORPUS_WIRE_ROWS_H

#include "core/base/wire.h"

static const struct mp_pair wire_pairs[] = {{{"a", 1}, {"b", 1}}};

static const struct mp_effect wire_rows[] = {
    {.kind = MP_EFFECT_PUBLISH,
     .topic = {"alerts/d-7", 10},
     .data = {"{}", 2},
     .format = MP_FORMAT_JSON,
     .qos = 1,
     .properties = wire_pairs,
     .n_properties = 1},
    {.kind = MP_EFFECT_SEND,
     .name = {"archive", 7},
     .key = {"d-7", 3},
     .has_key = true,
     .data = {"x", 1},
     .delay_us = 5},
    {.kind = MP_EFFECT_ALARM,
     .name = {"hold", 4},
     .after_us = -1,
     .at_us = 77,
     .slack_us = 3},
    {.kind = MP_EFFECT_STATE,
     .name = {"i", 1},
     .value = {.kind = MP_VALUE_INTEGER, .integer = 7},
     .ttl_us = 9},
    {.kind = MP_EFFECT_STATE,
     .name = {"f", 1},
     .value = {.kind = MP_VALUE_FLOAT, .number = 0.5}},
    {.kind = MP_EFFECT_STATE,
     .name = {"b", 1},
     .value = {.kind = MP_VALUE_BOOLEAN, .integer = 1}},
    {.kind = MP_EFFECT_STATE,
     .name = {"t", 1},
     .value = {.kind = MP_VALUE_TABLE, .text = {"[1]", 3}}},
    {.kind = MP_EFFECT_STATE, .name = {"n", 1}, .op = MP_STATE_DELETE},
    {.kind = MP_EFFECT_NOTIFY,
     .topic = {"/rooms/1", 8},
     .data = {"21", 2},
     .max_age_us = 60000000},
};

/* What a batch says of its events. */
static const struct mp_verdict wire_verdicts[] = {
    {0, true, {"busy", 4}},
    {7, false, {"odd number of bytes", 19}},
};

#endif
