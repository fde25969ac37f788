// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/stats/latency.h"

#include <math.h>

#define STEPS_LOG2 7
#define STEPS      (1u << STEPS_LOG2)

typedef struct Bucket {
    uint32_t number, count;
} Bucket;

/* Below STEPS each nanosecond has its own. */
static uint32_t number_of(uint64_t ns)
{
    unsigned octave;

    if (ns < STEPS)
        return (uint32_t)ns;
    octave = 63u - (unsigned)__builtin_clzll(ns) - STEPS_LOG2;
    return (octave << STEPS_LOG2) + (uint32_t)(ns >> octave);
}

static int64_t middle_of(uint32_t number)
{
    unsigned octave;
    uint64_t from;

    if (number < 2 * STEPS)
        return number;
    octave = (number >> STEPS_LOG2) - 1;
    from = (uint64_t)((number & (STEPS - 1)) + STEPS) << octave;
    return (int64_t)(from + (UINT64_C(1) << octave) / 2);
}

/* Where the bucket is, or would be. */
static unsigned find(const GArray *buckets, uint32_t number)
{
    unsigned low = 0, high = buckets->len;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (g_array_index(buckets, Bucket, middle).number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void latency_add(Latency *latency, int64_t ns)
{
    uint32_t number = number_of((uint64_t)MAX(ns, 0));
    unsigned place;

    ns = MAX(ns, 0);
    if (!latency->buckets)
        latency->buckets = g_array_new(FALSE, FALSE, sizeof(Bucket));
    place = find(latency->buckets, number);
    if (place == latency->buckets->len ||
        g_array_index(latency->buckets, Bucket, place).number != number) {
        Bucket bucket = {number, 0};

        g_array_insert_val(latency->buckets, place, bucket);
    }
    g_array_index(latency->buckets, Bucket, place).count++;
    latency->least_ns = latency->count ? MIN(latency->least_ns, ns) : ns;
    latency->most_ns = MAX(latency->most_ns, ns);
    latency->sum_ns += ns;
    latency->count++;
}

int64_t latency_at(const Latency *latency, double rank)
{
    uint64_t wanted, passed = 0;

    if (!latency->count)
        return 0;
    wanted = (uint64_t)ceil(rank * (double)latency->count);
    for (unsigned i = 0; i < latency->buckets->len; i++) {
        const Bucket *bucket = &g_array_index(latency->buckets, Bucket, i);

        passed += bucket->count;
        if (passed >= wanted)
            return CLAMP(middle_of(bucket->number), latency->least_ns, latency->most_ns);
    }
    return latency->most_ns;
}

void latency_clear(Latency *latency)
{
    if (latency->buckets)
        g_array_unref(latency->buckets);
    *latency = (Latency){0};
}
