// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/seeded-hash.h"

#include <string.h>

#define BLOCK_WORDS \
    64u /* a longer key goes block by block, each with the hash of those before it */

static uint64_t seeds[BLOCK_WORDS + 2];

static void draw_seeds(void)
{
    static gsize drawn;
    if (!g_once_init_enter(&drawn))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(seeds); i++)
        seeds[i] = (uint64_t)g_random_int() << 32 | g_random_int();
    g_once_init_leave(&drawn, 1);
}

/* A sum of products with secret factors is strongly universal in its upper half: two keys collide
 * by chance only, whatever they are (Lemire and Kaser, "Strongly universal string hashing is fast",
 * 2014, "multilinear"). */
uint32_t seeded_hash(const void *bytes, size_t length)
{
    draw_seeds();
    const uint8_t *at = bytes;
    uint32_t hash =
        (uint32_t)length; /* so that a last word that is not full is unlike a full one */
    do {
        uint64_t sum = seeds[0] + seeds[1] * hash;
        size_t i = 2;
        for (; length >= sizeof(uint32_t) && i < G_N_ELEMENTS(seeds); i++) {
            uint32_t word;
            memcpy(&word, at, sizeof word); /* of a constant length: a load, and no call */
            sum += seeds[i] * word;
            at += sizeof word;
            length -= sizeof word;
        }
        if (length && i < G_N_ELEMENTS(seeds)) {
            uint32_t word = 0;
            memcpy(&word, at, length);
            sum += seeds[i] * word;
            length = 0;
        }
        hash = (uint32_t)(sum >> 32);
    } while (length);
    return hash;
}

guint seeded_str_hash(gconstpointer text)
{
    return seeded_hash(text, strlen(text));
}
