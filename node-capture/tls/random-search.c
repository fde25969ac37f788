// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/random-search.h"

#include <string.h>

#define DISTINCT_MIN 16u /* bytes of 32: fewer come by chance once in 10^15 */

/* What is looked for, and by their first two bytes which may be there. */
typedef struct Sought {
    const uint8_t *randoms;
    size_t count;
    uint8_t firsts[65536 / 8];
} Sought;

bool random_search_is_random(const uint8_t random[static RANDOM_SEARCH_LENGTH])
{
    bool known[256] = {false};
    unsigned distinct = 0;
    for (unsigned i = 0; i < RANDOM_SEARCH_LENGTH; i++) {
        distinct += !known[random[i]];
        known[random[i]] = true;
    }
    return distinct >= DISTINCT_MIN;
}

static unsigned first_of(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

static void prepare(Sought *sought, const uint8_t *randoms, size_t count)
{
    *sought = (Sought){randoms, count, {0}};
    for (size_t i = 0; i < count; i++) {
        unsigned first = first_of(randoms + i * RANDOM_SEARCH_LENGTH);
        sought->firsts[first / 8] |= (uint8_t)(1u << first % 8);
    }
}

static const uint8_t *find_at(const Sought *sought, const uint8_t *bytes)
{
    unsigned first = first_of(bytes);
    if (!(sought->firsts[first / 8] >> first % 8 & 1)) {
        return NULL;
    }
    for (size_t i = 0; i < sought->count; i++) {
        const uint8_t *random = sought->randoms + i * RANDOM_SEARCH_LENGTH;
        if (memcmp(bytes, random, RANDOM_SEARCH_LENGTH) == 0) {
            return random;
        }
    }
    return NULL;
}

/* Ways within bytes that `chain`, without its last offset, leads to. False: there are too many. */
static bool look_through(const Sought *sought, const uint8_t *bytes, size_t length, TlsChain chain,
                         RandomSearch *ret)
{
    for (size_t at = 0; at + RANDOM_SEARCH_LENGTH <= length; at++) {
        const uint8_t *random = find_at(sought, bytes + at);
        if (!random) {
            continue;
        }
        if (ret->n_ways == RANDOM_SEARCH_WAYS) {
            return false;
        }
        RandomWay *way = &ret->ways[ret->n_ways++];
        *way = (RandomWay){.chain = chain, .agreed = 1};
        way->chain.offsets[way->chain.count++] = (int32_t)at;
        memcpy(way->random, random, RANDOM_SEARCH_LENGTH);
    }
    return true;
}

/* Shortest ways first. */
static bool find_ways(const Sought *sought, const RandomSample *sample, RandomSearch *ret)
{
    *ret = (RandomSearch){0};
    if (!look_through(sought, sample->object, sample->object_length, (TlsChain){0}, ret)) {
        return false;
    }
    for (unsigned i = 0; i < sample->n_pointed; i++) {
        const TlsChain chain = {.count = 1, .offsets = {sample->places[i]}};
        if (!look_through(sought, sample->pointed + i * sample->pointed_length,
                          sample->pointed_length, chain, ret)) {
            return false;
        }
    }
    return ret->n_ways > 0;
}

static const RandomWay *same_way(const RandomSearch *search, const TlsChain *chain)
{
    for (unsigned i = 0; i < search->n_ways; i++) {
        const TlsChain *known = &search->ways[i].chain;
        if (known->count == chain->count &&
            memcmp(known->offsets, chain->offsets, chain->count * sizeof(*chain->offsets)) == 0) {
            return &search->ways[i];
        }
    }
    return NULL;
}

bool random_search_add(RandomSearch *search, const RandomSample *sample, const uint8_t *randoms,
                       size_t count)
{
    Sought sought;
    RandomSearch found, both = {0};
    prepare(&sought, randoms, count);
    if (!find_ways(&sought, sample, &found)) {
        return false;
    }
    for (unsigned i = 0; i < search->n_ways; i++) {
        const RandomWay *way = same_way(&found, &search->ways[i].chain);
        if (way) {
            RandomWay *kept = &both.ways[both.n_ways++];
            *kept = search->ways[i];
            kept->agreed += memcmp(kept->random, way->random, RANDOM_SEARCH_LENGTH) != 0;
            memcpy(kept->random, way->random, RANDOM_SEARCH_LENGTH);
        }
    }
    /* None agrees: what was found before was nothing. */
    *search = both.n_ways > 0 ? both : found;
    return true;
}

bool random_search_result(const RandomSearch *search, TlsChain *ret)
{
    unsigned needed = search->n_ways > 1 ? RANDOM_SEARCH_CHOOSE : RANDOM_SEARCH_AGREE;
    for (unsigned i = 0; i < search->n_ways; i++) {
        if (search->ways[i].agreed >= needed) {
            *ret = search->ways[i].chain;
            return true;
        }
    }
    return false;
}
