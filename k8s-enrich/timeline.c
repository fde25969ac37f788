// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/timeline.h"

#include <string.h>

/* Holders stand beside their number, and fill a block of the pool. */
typedef struct Earlier {
    BlockPool *pool;
    uint32_t n_holders, n_allocated;
    Holder holders[];
} Earlier;

static size_t size_of(uint32_t n_holders)
{
    return sizeof(Earlier) + n_holders * sizeof(Holder);
}

static Earlier *earlier_new(BlockPool *pool, uint32_t n_holders)
{
    size_t size = block_pool_size(size_of(n_holders));
    Earlier *earlier = block_pool_new(pool, size);
    *earlier = (Earlier){pool, 0, (uint32_t)((size - sizeof *earlier) / sizeof(Holder))};
    return earlier;
}

static void earlier_free(Earlier *earlier)
{
    if (earlier)
        block_pool_free(earlier->pool, earlier, size_of(earlier->n_allocated));
}

static Earlier *make_room(Earlier *earlier, BlockPool *pool)
{
    if (!earlier)
        return earlier_new(pool, 1);
    if (earlier->n_holders < earlier->n_allocated)
        return earlier;
    Earlier *larger = earlier_new(pool, earlier->n_allocated + 1);
    larger->n_holders = earlier->n_holders;
    memcpy(larger->holders, earlier->holders, earlier->n_holders * sizeof(Holder));
    earlier_free(earlier);
    return larger;
}

void timeline_clear(Timeline *timeline)
{
    earlier_free(timeline->earlier);
    *timeline = (Timeline){0};
}

static size_t count_earlier(const Timeline *timeline)
{
    return timeline->earlier ? timeline->earlier->n_holders : 0;
}

size_t timeline_count(const Timeline *timeline)
{
    return timeline && !timeline_is_empty(timeline) ? count_earlier(timeline) + 1 : 0;
}

const Holder *timeline_holder(const Timeline *timeline, size_t index)
{
    return index < count_earlier(timeline) ? &timeline->earlier->holders[index] : &timeline->latest;
}

/* The steps depend on the number alone, so that the processor need not guess where they lead. */
static size_t begun_earlier(const Timeline *timeline, uint64_t time_ns)
{
    size_t left = count_earlier(timeline);
    if (left == 0)
        return 0;
    const Holder *at = timeline->earlier->holders;
    while (left > 1) {
        size_t half = left / 2;
        at += at[half - 1].from_ns <= time_ns ? half : 0;
        left -= half;
    }
    return (size_t)(at - timeline->earlier->holders) + (at->from_ns <= time_ns);
}

size_t timeline_begun(const Timeline *timeline, uint64_t time_ns)
{
    if (!timeline || timeline_is_empty(timeline))
        return 0;
    if (timeline->latest.from_ns <= time_ns)
        return count_earlier(timeline) + 1;
    return begun_earlier(timeline, time_ns);
}

/* Of those that began together the key decides, not the order in which they became known. */
static bool comes_before(const Holder *holder, const Entity *entity)
{
    return holder->from_ns < entity->from_ns ||
           (holder->from_ns == entity->from_ns && holder->entity->key <= entity->key);
}

static void insert_earlier(Timeline *timeline, BlockPool *pool, size_t at, Holder holder)
{
    Earlier *earlier = timeline->earlier = make_room(timeline->earlier, pool);
    memmove(&earlier->holders[at + 1], &earlier->holders[at],
            (earlier->n_holders - at) * sizeof(Holder));
    earlier->holders[at] = holder;
    earlier->n_holders++;
}

void timeline_insert(Timeline *timeline, BlockPool *pool, const Entity *entity, struct Name *name)
{
    Holder holder = {.from_ns = entity->from_ns,
                     .to_ns = entity->to_ns ? entity->to_ns : TIME_OPEN,
                     .entity = entity,
                     .name = name};
    if (timeline_is_empty(timeline)) {
        timeline->latest = holder;
    } else if (comes_before(&timeline->latest, entity)) {
        insert_earlier(timeline, pool, count_earlier(timeline), timeline->latest);
        timeline->latest = holder;
    } else {
        size_t at = begun_earlier(timeline, entity->from_ns);
        while (at > 0 && !comes_before(&timeline->earlier->holders[at - 1], entity))
            at--;
        insert_earlier(timeline, pool, at, holder);
    }
}

static void remove_earlier(Timeline *timeline, size_t at)
{
    Earlier *earlier = timeline->earlier;
    earlier->n_holders--;
    memmove(&earlier->holders[at], &earlier->holders[at + 1],
            (earlier->n_holders - at) * sizeof(Holder));
    if (earlier->n_holders == 0) {
        earlier_free(earlier);
        timeline->earlier = NULL;
    }
}

void timeline_remove(Timeline *timeline, const Entity *entity)
{
    size_t n_earlier = count_earlier(timeline);
    if (timeline->latest.entity == entity) {
        timeline->latest = n_earlier ? timeline->earlier->holders[n_earlier - 1] : (Holder){0};
        if (n_earlier)
            remove_earlier(timeline, n_earlier - 1);
        return;
    }
    for (size_t at = begun_earlier(timeline, entity->from_ns);
         at > 0 && timeline->earlier->holders[at - 1].from_ns == entity->from_ns; at--) {
        if (timeline->earlier->holders[at - 1].entity == entity) {
            remove_earlier(timeline, at - 1);
            return;
        }
    }
}

const Holder *timeline_at(const Timeline *timeline, uint64_t time_ns, Interval *interval)
{
    time_ns = MIN(time_ns, TIME_OPEN - 1);
    if (!timeline || timeline_is_empty(timeline))
        return NULL;
    size_t begun = timeline_begun(timeline, time_ns);
    if (begun <= count_earlier(timeline))
        interval->to_ns = MIN(interval->to_ns, timeline_holder(timeline, begun)->from_ns);
    for (size_t i = begun; i-- > 0;) {
        const Holder *holder = timeline_holder(timeline, i);
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
