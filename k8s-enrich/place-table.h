// SPDX-License-Identifier: GPL-2.0-or-later
/* Who held an address, or an address and port, in which role: the hash table behind every look-up.
 */
#pragma once

#include "k8s-enrich/block-array.h"
#include "k8s-enrich/timeline.h"

typedef enum PlaceRole {
    PLACE_POD,
    PLACE_SERVICE,
    PLACE_NODE,
    PLACE_HOST_POD, /* pods on their node's network: without a port they only tell that the address
                       is a node's */
    PLACE_SLICE,    /* endpoint slices that list the address */
} PlaceRole;

/* An address alone (protocol and port 0); an address and port; or, with the address ::, a port of
 * every node. */
typedef struct PlaceKey {
    IpAddress address;
    uint16_t port;
    uint8_t protocol;
    uint8_t role; /* PlaceRole */
} PlaceKey;

/* A hash table of small slots, which stay in the processor's caches, and the places themselves in
 * blocks: whoever holds an address now is found in the one cache line that has the address too.
 * Open addressing with linear probing; all zero but for the seeds is an empty table. */
typedef struct PlaceTable {
    uint8_t *tags;            /* of each slot: some bits of the hash; 0: it is empty */
    uint32_t *numbers;        /* of each slot that is not: its block's */
    void *slot_memory;        /* of both */
    size_t n_slots, n_places; /* n_slots is 0 or a power of two */
    uint64_t seeds[5];        /* random, so that nobody can choose addresses that collide */
    BlockArray blocks;
} PlaceTable;

/* NULL: nobody ever. Valid until the table changes. */
const Timeline *place_table_find(const PlaceTable *table, const PlaceKey *key);
void place_table_insert(PlaceTable *table, const PlaceKey *key, const Entity *entity,
                        struct Name *name);
void place_table_remove(PlaceTable *table, const PlaceKey *key, const Entity *entity);
void place_table_clear(PlaceTable *table);
