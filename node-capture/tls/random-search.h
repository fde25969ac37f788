// SPDX-License-Identifier: GPL-2.0-or-later
/* Where sessions of a library keep their client random, found by what was seen on the wire: copies
 * of sessions are looked through for randoms of ClientHellos. A way that led to the random of two
 * connections, and of no connection to something else, is the answer; of several such ways the
 * shortest, once they have agreed on four. No I/O, no clock, no allocation; keeps nothing of the
 * copies but the randoms that it has found, which were on the wire. */
#pragma once

#include "node-capture/tls/finder.h"

#define RANDOM_SEARCH_LENGTH 32u
#define RANDOM_SEARCH_WAYS   16u /* a copy that has more of them is no session */
#define RANDOM_SEARCH_AGREE  2u  /* connections that one way must be right for */
#define RANDOM_SEARCH_CHOOSE 4u  /* the same, where there are several ways */

/* A copy of a session. */
typedef struct RandomSample {
    const uint8_t *object;
    size_t object_length;
    unsigned n_pointed;
    const uint16_t *places; /* of the pointers that were followed, in the object */
    const uint8_t *pointed; /* what each points to, one behind the other */
    size_t pointed_length;  /* of one */
} RandomSample;

typedef struct RandomWay {
    TlsChain chain;
    unsigned agreed;                      /* connections */
    uint8_t random[RANDOM_SEARCH_LENGTH]; /* of the last one */
} RandomWay;

/* All zero in the beginning. */
typedef struct RandomSearch {
    unsigned n_ways;
    RandomWay ways[RANDOM_SEARCH_WAYS];
} RandomSearch;

/* Whether something is fit to be looked for: zeros and the like are everywhere. */
bool random_search_is_random(const uint8_t random[static RANDOM_SEARCH_LENGTH]);

/* Looks for any of `count` randoms, one behind the other. False: there is none of them, and the
 * copy tells nothing. */
bool random_search_add(RandomSearch *search, const RandomSample *sample, const uint8_t *randoms,
                       size_t count);
/* False: it is not known yet. */
bool random_search_result(const RandomSearch *search, TlsChain *ret);
