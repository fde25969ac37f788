// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/timeline.h"

#include <glib.h>
#include <string.h>

#define WALKED 8u /* so many are walked through; among more the place is searched by halves */

size_t timeline_first_begun(const Timeline *timeline, uint64_t time_ns)
{
    size_t low = 0, high = timeline_count(timeline);
    while (high - low > WALKED) {
        size_t middle = (low + high) / 2;
        if (timeline->holders[middle].from_ns > time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    /* The processor reads ahead of a walk, but not of a search. */
    while (low < high && timeline->holders[low].from_ns > time_ns)
        low++;
    return low;
}

static size_t size_of(uint32_t n_allocated)
{
    return sizeof(Timeline) + n_allocated * sizeof(Holder);
}

/* Slices, as they have no overhead. */
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

static void move_from(Timeline *line, size_t from, size_t to)
{
    memmove(&line->holders[to], &line->holders[from], (line->n_holders - from) * sizeof(Holder));
}

void timeline_enter(Timeline *line, const Entity *entity, struct Name *name)
{
    size_t at = timeline_first_begun(line, entity->from_ns);
    /* Of those that began together the key decides, not the order in which they became known. */
    while (at < line->n_holders && line->holders[at].from_ns == entity->from_ns &&
           line->holders[at].entity->key > entity->key)
        at++;
    move_from(line, at, at + 1);
    line->n_holders++;
    line->holders[at] = (Holder){.from_ns = entity->from_ns,
                                 .to_ns = entity->to_ns ? entity->to_ns : TIME_OPEN,
                                 .entity = entity,
                                 .name = name};
}

void timeline_leave(Timeline *line, const Entity *entity)
{
    size_t at = timeline_first_begun(line, entity->from_ns);
    while (at < line->n_holders && line->holders[at].entity != entity)
        at++;
    if (at == line->n_holders)
        return;
    move_from(line, at + 1, at);
    line->n_holders--;
}

void timeline_insert(Timeline **timeline, const Entity *entity, struct Name *name)
{
    *timeline = make_room(*timeline);
    timeline_enter(*timeline, entity, name);
}

void timeline_remove(Timeline **timeline, const Entity *entity)
{
    timeline_leave(*timeline, entity);
    if ((*timeline)->n_holders == 0) {
        timeline_free(*timeline);
        *timeline = NULL;
    }
}

const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval)
{
    time_ns = MIN(time_ns, TIME_OPEN - 1);
    size_t begun = timeline_first_begun(timeline, time_ns);
    if (begun > 0)
        interval->to_ns = MIN(interval->to_ns, timeline->holders[begun - 1].from_ns);
    for (size_t i = begun; i < timeline_count(timeline); i++) {
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
