// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/place-table.h"

#include <glib.h>
#include <string.h>

#define SLOTS_MIN 64u

typedef struct PlaceSlot {
    PlaceKey key;
    Timeline *timeline; /* NULL: the slot is empty */
} PlaceSlot;

_Static_assert(sizeof(PlaceKey) == 20, "a key is compared as bytes: no padding");
_Static_assert(sizeof(PlaceSlot) == 32, "two slots share a cache line");

/* Shift and multiply, as in the finalizer of MurmurHash3; the first shift brings down what differs
 * in the highest bits, where the last byte of an address is. */
static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 29;
}

/* The role is left out: the roles of an address stand side by side, so that asking for one after
 * the other is cheap. */
static size_t home_of(const PlaceTable *table, const PlaceKey *key)
{
    uint64_t low, high;
    memcpy(&low, key->address.bytes, sizeof low);
    memcpy(&high, key->address.bytes + sizeof low, sizeof high);
    uint64_t hash = mix(table->seed ^ ((uint64_t)key->protocol << 16 | key->port) ^ low);
    return mix(hash ^ high) & (table->n_slots - 1);
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. */
static size_t find_slot(const PlaceTable *table, const PlaceKey *key)
{
    size_t at = home_of(table, key);
    while (table->slots[at].timeline && memcmp(&table->slots[at].key, key, sizeof *key) != 0)
        at = (at + 1) & (table->n_slots - 1);
    return at;
}

const Timeline *place_table_find(const PlaceTable *table, const PlaceKey *key)
{
    return table->n_slots ? table->slots[find_slot(table, key)].timeline : NULL;
}

static void grow(PlaceTable *table)
{
    PlaceSlot *old = table->slots;
    size_t n_old = table->n_slots;
    table->n_slots = MAX(n_old * 2, SLOTS_MIN);
    table->slots = g_new0(PlaceSlot, table->n_slots);
    for (size_t i = 0; i < n_old; i++)
        if (old[i].timeline)
            table->slots[find_slot(table, &old[i].key)] = old[i];
    g_free(old);
}

void place_table_insert(PlaceTable *table, const PlaceKey *key, const Entity *entity,
                        struct Name *name)
{
    if (table->n_places >= table->n_slots / 4 * 3)
        grow(table);
    PlaceSlot *slot = &table->slots[find_slot(table, key)];
    if (!slot->timeline) {
        slot->key = *key;
        table->n_places++;
    }
    timeline_insert(&slot->timeline, entity, name);
}

void place_table_remove(PlaceTable *table, const PlaceKey *key, const Entity *entity)
{
    size_t mask = table->n_slots - 1, hole = find_slot(table, key);
    if (!table->slots[hole].timeline)
        return;
    timeline_remove(&table->slots[hole].timeline, entity);
    if (table->slots[hole].timeline)
        return;
    table->n_places--;
    /* Moves up what a probe would no longer reach across the hole (Knuth 6.4, algorithm R). */
    for (size_t at = (hole + 1) & mask; table->slots[at].timeline; at = (at + 1) & mask) {
        size_t home = home_of(table, &table->slots[at].key);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            table->slots[at].timeline = NULL;
            hole = at;
        }
    }
}

void place_table_clear(PlaceTable *table)
{
    for (size_t i = 0; i < table->n_slots; i++)
        timeline_free(table->slots[i].timeline);
    g_free(table->slots);
    table->slots = NULL;
    table->n_slots = table->n_places = 0;
}
