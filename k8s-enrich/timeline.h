// SPDX-License-Identifier: GPL-2.0-or-later
/* Who held one thing (an address, a name, a uid) and when: holders sorted by the start of their
 * interval. All zero is an empty timeline, which owns nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/cache-memory.h"
#include "k8s-enrich/inventory.h"

#define TIME_OPEN UINT64_MAX /* end of an interval that is still open */

typedef struct Interval {
    uint64_t from_ns, to_ns; /* TIME_OPEN, never 0 */
} Interval;

typedef struct Holder {
    uint64_t from_ns, to_ns;
    const Entity *entity; /* borrowed */
    struct Name *name; /* borrowed: of a pod the node, of an endpoint slice the service; or NULL */
} Holder;

/* The latest holder stands where the timeline stands: a question about now, which nearly all are,
 * needs no other memory. */
typedef struct Timeline {
    Holder latest;           /* entity NULL: there is none */
    struct Earlier *earlier; /* all before it; NULL: none */
} Timeline;

/* `pool` is where the timeline's memory is from, and stays so until it is empty. */
void timeline_insert(Timeline *timeline, BlockPool *pool, const Entity *entity, struct Name *name);
/* Nothing happens if `entity` is no holder. */
void timeline_remove(Timeline *timeline, const Entity *entity);
void timeline_clear(Timeline *timeline);

static inline bool timeline_is_empty(const Timeline *timeline)
{
    return !timeline->latest.entity;
}

/* For both NULL is an empty timeline. */
size_t timeline_count(const Timeline *timeline);
/* How many holders began at `time_ns` or before. */
size_t timeline_begun(const Timeline *timeline, uint64_t time_ns);
/* index < timeline_count() */
const Holder *timeline_holder(const Timeline *timeline, size_t index);
/* The holder that began latest of those valid at `time_ns`, or NULL. Narrows `interval` to where
 * this answer holds. The timeline may be NULL. */
const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval);
