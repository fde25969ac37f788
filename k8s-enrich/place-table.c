// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/place-table.h"

#include <glib.h>
#include <string.h>

#define SLOTS_MIN 64u

typedef struct PlaceSlot {
    uint64_t hash; /* kept beside the pointer: most probes end without touching the place */
    Place *place;  /* NULL: empty */
} PlaceSlot;

/* Shift and multiply, as in the finalizer of MurmurHash3; the first shift brings down what differs
 * in the highest bits, where the last byte of an address is. */
static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 29;
}

static uint64_t hash_key(const PlaceTable *table, const PlaceKey *key)
{
    uint64_t low, high;
    memcpy(&low, key->address.bytes, sizeof low);
    memcpy(&high, key->address.bytes + sizeof low, sizeof high);
    uint64_t hash = mix(table->seed ^ ((uint64_t)key->protocol << 16 | key->port));
    return mix(mix(hash ^ low) ^ high);
}

static bool key_equal(const PlaceKey *a, const PlaceKey *b)
{
    return a->protocol == b->protocol && a->port == b->port &&
           ip_address_equal(&a->address, &b->address);
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. */
static size_t find_slot(const PlaceTable *table, const PlaceKey *key, uint64_t hash)
{
    size_t mask = table->n_slots - 1, at = hash & mask;
    while (table->slots[at].place &&
           (table->slots[at].hash != hash || !key_equal(&table->slots[at].place->key, key)))
        at = (at + 1) & mask;
    return at;
}

const Place *place_table_find(const PlaceTable *table, const PlaceKey *key)
{
    if (table->n_slots == 0)
        return NULL;
    return table->slots[find_slot(table, key, hash_key(table, key))].place;
}

static void grow(PlaceTable *table)
{
    PlaceSlot *old = table->slots;
    size_t n_old = table->n_slots;
    table->n_slots = MAX(n_old * 2, SLOTS_MIN);
    table->slots = g_new0(PlaceSlot, table->n_slots);
    for (size_t i = 0; i < n_old; i++)
        if (old[i].place)
            table->slots[find_slot(table, &old[i].place->key, old[i].hash)] = old[i];
    g_free(old);
}

Place *place_table_get(PlaceTable *table, const PlaceKey *key)
{
    if (table->n_places + 1 > table->n_slots / 2)
        grow(table);
    uint64_t hash = hash_key(table, key);
    PlaceSlot *slot = &table->slots[find_slot(table, key, hash)];
    if (!slot->place) {
        slot->hash = hash;
        slot->place = g_new0(Place, 1);
        slot->place->key = *key;
        table->n_places++;
    }
    return slot->place;
}

static void place_free(Place *place)
{
    for (size_t i = 0; i < PLACE_ROLES; i++)
        timeline_clear(&place->timelines[i]);
    g_free(place);
}

void place_table_remove(PlaceTable *table, Place *place)
{
    size_t mask = table->n_slots - 1;
    size_t hole = find_slot(table, &place->key, hash_key(table, &place->key));
    /* Moves up what a probe would no longer reach across the hole (Knuth 6.4, algorithm R). */
    for (size_t at = (hole + 1) & mask; table->slots[at].place; at = (at + 1) & mask) {
        size_t home = table->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole].place = NULL;
    table->n_places--;
    place_free(place);
}

void place_table_clear(PlaceTable *table)
{
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].place)
            place_free(table->slots[i].place);
    g_free(table->slots);
    table->slots = NULL;
    table->n_slots = table->n_places = 0;
}
