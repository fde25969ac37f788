// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/timeline.h"

#include <glib.h>
#include <string.h>

static uint64_t end_of(const Entity *entity)
{
    return entity->to_ns ? entity->to_ns : TIME_OPEN;
}

size_t timeline_begun(const Timeline *timeline, uint64_t time_ns)
{
    size_t low = 0, high = timeline->n_holders;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (timeline->holders[middle].from_ns <= time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void update_cover(Timeline *timeline, size_t from)
{
    uint64_t cover_ns = from ? timeline->holders[from - 1].cover_ns : 0;
    for (size_t i = from; i < timeline->n_holders; i++) {
        cover_ns = MAX(cover_ns, timeline->holders[i].to_ns);
        timeline->holders[i].cover_ns = cover_ns;
    }
}

void timeline_insert(Timeline *timeline, const Entity *entity, struct Name *name)
{
    size_t at = timeline_begun(timeline, entity->from_ns);
    /* Of those that began together the key decides, not the order in which they became known. */
    while (at > 0 && timeline->holders[at - 1].from_ns == entity->from_ns &&
           timeline->holders[at - 1].entity->key > entity->key)
        at--;
    if (timeline->n_holders == timeline->n_allocated) {
        timeline->n_allocated = timeline->n_allocated ? timeline->n_allocated * 2 : 1;
        timeline->holders = g_renew(Holder, timeline->holders, timeline->n_allocated);
    }
    memmove(&timeline->holders[at + 1], &timeline->holders[at],
            (timeline->n_holders - at) * sizeof(Holder));
    timeline->n_holders++;
    timeline->holders[at] = (Holder){
        .from_ns = entity->from_ns, .to_ns = end_of(entity), .entity = entity, .name = name};
    update_cover(timeline, at);
}

bool timeline_remove(Timeline *timeline, const Entity *entity)
{
    size_t at = timeline_begun(timeline, entity->from_ns);
    do {
        if (at == 0 || timeline->holders[at - 1].from_ns != entity->from_ns)
            return false;
        at--;
    } while (timeline->holders[at].entity != entity);

    timeline->n_holders--;
    memmove(&timeline->holders[at], &timeline->holders[at + 1],
            (timeline->n_holders - at) * sizeof(Holder));
    if (timeline->n_holders == 0)
        timeline_clear(timeline);
    else
        update_cover(timeline, at);
    return true;
}

void timeline_clear(Timeline *timeline)
{
    g_free(timeline->holders);
    *timeline = (Timeline){0};
}

const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval)
{
    if (timeline->n_holders == 0)
        return NULL;
    time_ns = MIN(time_ns, TIME_OPEN - 1);
    size_t begun = timeline_begun(timeline, time_ns);
    if (begun < timeline->n_holders)
        interval->to_ns = MIN(interval->to_ns, timeline->holders[begun].from_ns);
    for (size_t i = begun; i-- > 0;) {
        const Holder *holder = &timeline->holders[i];
        if (holder->cover_ns <= time_ns) {
            interval->from_ns = MAX(interval->from_ns, holder->cover_ns);
            return NULL;
        }
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
