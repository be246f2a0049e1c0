/*
 * topic.h - MQTT topics and topic filters (section 4.7 of both standards).
 *
 * `+` takes one level, also an empty one; `#`, last, takes the level before
 * it and everything below.  A leading wildcard doesn't match a topic that
 * starts with '$'.
 *
 * Thread   any.   Memory  none: matching walks the bytes where they are.
 */
#ifndef MP_BASE_TOPIC_H
#define MP_BASE_TOPIC_H

#include "core/base/limits.h"
#include "core/base/slice.h"

/*
 * A topic that may be published to: 1 to MP_TOPIC_MAX bytes of valid UTF-8
 * without wildcards and without what brokers refuse: NUL, other control
 * characters, noncharacters.
 */
MP_MUST int mp_topic_check(struct mp_slice topic, struct mp_why *why);

/* As for topics, but wildcards as whole levels, # last, and 65,535 bytes. */
MP_MUST int mp_filter_check(struct mp_slice filter, struct mp_why *why);

bool mp_filter_match(struct mp_slice filter, struct mp_slice topic);

#endif
