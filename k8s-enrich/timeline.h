// SPDX-License-Identifier: GPL-2.0-or-later
/* Who held one thing (an address, a name, a uid) and when: holders sorted by the start of their
 * interval, the latest first, as most questions are about now. */
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
    const Entity *entity; /* borrowed */
    struct Name *name; /* borrowed: of a pod the node, of an endpoint slice the service; or NULL */
} Holder;

/* Holders stand beside their number: a look-up in memory that is cold waits only once. */
typedef struct Timeline {
    uint32_t n_holders, n_allocated;
    Holder holders[];
} Timeline;

/* Of a timeline with room for one more, wherever its memory is from. */
void timeline_enter(Timeline *timeline, const Entity *entity, struct Name *name);
/* Nothing happens if `entity` is no holder. */
void timeline_leave(Timeline *timeline, const Entity *entity);

/* The same for one that is NULL while it is empty: allocated by what is put in first, freed with
 * what is taken out last. */
void timeline_insert(Timeline **timeline, const Entity *entity, struct Name *name);
void timeline_remove(Timeline **timeline, const Entity *entity);
void timeline_free(Timeline *timeline); /* NULL is fine */

/* For both NULL is an empty timeline. */
static inline size_t timeline_count(const Timeline *timeline)
{
    return timeline ? timeline->n_holders : 0;
}
/* The first of the holders, so the latest, that began at `time_ns` or before; timeline_count() if
 * there is none. */
size_t timeline_first_begun(const Timeline *timeline, uint64_t time_ns);
/* The holder that began latest of those valid at `time_ns`, or NULL. Narrows `interval` to where
 * this answer holds. */
const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval);
