// SPDX-License-Identifier: GPL-2.0-or-later
/* Who held one thing (an address, a name, a uid) and when: holders sorted by the start of their
 * interval. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

#define TIME_OPEN UINT64_MAX /* end of an interval that is still open */

typedef struct Interval {
    uint64_t from_ns, to_ns; /* TIME_OPEN, never 0 */
} Interval;

typedef struct Holder {
    uint64_t from_ns, to_ns;
    uint64_t cover_ns;    /* highest to_ns of this holder and all before it */
    const Entity *entity; /* borrowed */
    struct Name *name; /* borrowed: of a pod the node, of an endpoint slice the service; or NULL */
} Holder;

/* All zero is an empty one. */
typedef struct Timeline {
    Holder *holders;
    uint32_t n_holders, n_allocated;
} Timeline;

void timeline_insert(Timeline *timeline, const Entity *entity, struct Name *name);
/* False if `entity` is no holder. */
bool timeline_remove(Timeline *timeline, const Entity *entity);
void timeline_clear(Timeline *timeline);

/* How many holders began at `time_ns` or before. */
size_t timeline_begun(const Timeline *timeline, uint64_t time_ns);
/* The holder that began latest of those valid at `time_ns`, or NULL. Narrows `interval` to where
 * this answer holds. */
const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval);
