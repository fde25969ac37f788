// SPDX-License-Identifier: GPL-2.0-or-later
/* Who held an address, or an address and port: the hash table behind every look-up. */
#pragma once

#include "k8s-enrich/timeline.h"

/* An address alone (protocol and port 0); an address and port; or, with the address ::, a port of
 * every node. */
typedef struct PlaceKey {
    IpAddress address;
    uint16_t protocol, port;
} PlaceKey;

typedef enum PlaceRole {
    PLACE_POD,
    PLACE_SERVICE,
    PLACE_NODE,
    PLACE_HOST_POD, /* pods on their node's network: at the address alone they only tell that it is
                       a node's */
    PLACE_SLICE,    /* endpoint slices that list the address */
    PLACE_ROLES,
} PlaceRole;

typedef struct Place {
    PlaceKey key;
    Timeline timelines[PLACE_ROLES];
} Place;

/* Open addressing with linear probing; all zero but for the seed is an empty table. */
typedef struct PlaceTable {
    struct PlaceSlot *slots;
    size_t n_slots, n_places; /* n_slots is 0 or a power of two */
    uint64_t seed;            /* so that nobody can choose addresses that collide */
} PlaceTable;

const Place *place_table_find(const PlaceTable *table, const PlaceKey *key);
Place *place_table_get(PlaceTable *table, const PlaceKey *key); /* makes it if need be */
void place_table_remove(PlaceTable *table, Place *place);       /* frees it */
void place_table_clear(PlaceTable *table);
