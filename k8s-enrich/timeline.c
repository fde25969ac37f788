// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/timeline.h"

#include <glib.h>
#include <string.h>

size_t timeline_begun(const Timeline *timeline, uint64_t time_ns)
{
    size_t low = 0, high = timeline ? timeline->n_holders : 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (timeline->holders[middle].from_ns <= time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t size_of(uint32_t n_allocated)
{
    return sizeof(Timeline) + n_allocated * sizeof(Holder);
}

/* Slices, as they keep timelines together in few pages of memory, away from the entities: half the
 * cost of a look-up. */
static Timeline *timeline_new(uint32_t n_allocated)
{
    Timeline *timeline = g_slice_alloc(size_of(n_allocated));
    timeline->n_holders = 0;
    timeline->n_allocated = n_allocated;
    return timeline;
}

void timeline_free(Timeline *timeline)
{
    if (timeline)
        g_slice_free1(size_of(timeline->n_allocated), timeline);
}

static Timeline *make_room(Timeline *timeline)
{
    if (!timeline)
        return timeline_new(1);
    if (timeline->n_holders < timeline->n_allocated)
        return timeline;
    Timeline *larger = timeline_new(timeline->n_allocated * 2);
    larger->n_holders = timeline->n_holders;
    memcpy(larger->holders, timeline->holders, timeline->n_holders * sizeof(Holder));
    timeline_free(timeline);
    return larger;
}

void timeline_insert(Timeline **timeline, const Entity *entity, struct Name *name)
{
    Timeline *line = *timeline = make_room(*timeline);
    size_t at = timeline_begun(line, entity->from_ns);
    /* Of those that began together the key decides, not the order in which they became known. */
    while (at > 0 && line->holders[at - 1].from_ns == entity->from_ns &&
           line->holders[at - 1].entity->key > entity->key)
        at--;
    memmove(&line->holders[at + 1], &line->holders[at], (line->n_holders - at) * sizeof(Holder));
    line->n_holders++;
    line->holders[at] = (Holder){.from_ns = entity->from_ns,
                                 .to_ns = entity->to_ns ? entity->to_ns : TIME_OPEN,
                                 .entity = entity,
                                 .name = name};
}

void timeline_remove(Timeline **timeline, const Entity *entity)
{
    Timeline *line = *timeline;
    size_t at = timeline_begun(line, entity->from_ns);
    do {
        if (at == 0 || line->holders[at - 1].from_ns != entity->from_ns)
            return;
        at--;
    } while (line->holders[at].entity != entity);

    line->n_holders--;
    memmove(&line->holders[at], &line->holders[at + 1], (line->n_holders - at) * sizeof(Holder));
    if (line->n_holders == 0) {
        timeline_free(line);
        *timeline = NULL;
    }
}

const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval)
{
    time_ns = MIN(time_ns, TIME_OPEN - 1);
    size_t begun = timeline_begun(timeline, time_ns);
    if (timeline && begun < timeline->n_holders)
        interval->to_ns = MIN(interval->to_ns, timeline->holders[begun].from_ns);
    for (size_t i = begun; i-- > 0;) {
        const Holder *holder = &timeline->holders[i];
        if (holder->to_ns > time_ns) {
            interval->from_ns = MAX(interval->from_ns, holder->from_ns);
            interval->to_ns = MIN(interval->to_ns, holder->to_ns);
            return holder;
        }
        /* It would have been the answer while it lasted. */
        interval->from_ns = MAX(interval->from_ns, holder->to_ns);
    }
    return NULL;
}
