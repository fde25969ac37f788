// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/place-table.h"

#include <string.h>

#define PLACES_MIN 32u
#define SLOTS_MIN  64u

typedef struct Place {
    PlaceKey key;
    uint32_t hash;
    Timeline timeline; /* never empty */
} Place;

_Static_assert(sizeof(PlaceKey) == 20, "a key is compared as bytes: no padding");
_Static_assert(sizeof(void *) != 8 || sizeof(Place) == CACHE_LINE, "a look-up reads one line");

/* A slot has the place's number in its lowest bits, as many as the number of slots has, and the
 * rest of the place's hash above them: a slot of another place is told without reading that place.
 * No place has the highest number, as never all slots are taken. */
#define SLOT_EMPTY UINT32_MAX

/* Shift and multiply, as in the finalizer of MurmurHash3; the first shift brings down what differs
 * in the highest bits, where the last byte of an address is. */
static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 29;
}

/* The role is only in the highest bits, so that the slots of an address' roles stand side by side:
 * asking for one after the other is cheap. */
static uint32_t hash_of(const PlaceTable *table, const PlaceKey *key)
{
    uint64_t low, high;
    memcpy(&low, key->address.bytes, sizeof low);
    memcpy(&high, key->address.bytes + sizeof low, sizeof high);
    uint64_t hash = mix(table->seed ^ ((uint64_t)key->protocol << 16 | key->port) ^ low);
    return (uint32_t)mix(hash ^ high) ^ (uint32_t)key->role << 29;
}

static bool same_key(const PlaceKey *a, const PlaceKey *b)
{
    uint64_t words_a[2], words_b[2];
    memcpy(words_a, a->address.bytes, sizeof words_a);
    memcpy(words_b, b->address.bytes, sizeof words_b);
    return !((words_a[0] ^ words_b[0]) | (words_a[1] ^ words_b[1])) && a->port == b->port &&
           a->protocol == b->protocol && a->role == b->role;
}

static uint32_t mask_of(const PlaceTable *table)
{
    return (uint32_t)(table->n_slots - 1);
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. */
static uint32_t find_slot(const PlaceTable *table, const PlaceKey *key, uint32_t hash)
{
    uint32_t mask = mask_of(table), at = hash & mask;
    for (;; at = (at + 1) & mask) {
        uint32_t slot = table->slots[at];
        if (slot == SLOT_EMPTY)
            return at;
        if (((slot ^ hash) & ~mask) == 0 && same_key(&table->places[slot & mask].key, key))
            return at;
    }
}

static Place *place_at(const PlaceTable *table, uint32_t at)
{
    uint32_t slot = table->slots[at];
    return slot == SLOT_EMPTY ? NULL : &table->places[slot & mask_of(table)];
}

const Timeline *place_table_find(const PlaceTable *table, const PlaceKey *key)
{
    if (table->n_slots == 0)
        return NULL;
    const Place *place = place_at(table, find_slot(table, key, hash_of(table, key)));
    return place ? &place->timeline : NULL;
}

static void grow_slots(PlaceTable *table)
{
    cache_memory_free(table->slots);
    table->n_slots = MAX(table->n_slots * 2, SLOTS_MIN);
    table->slots = cache_memory_new(table->n_slots * sizeof *table->slots);
    memset(table->slots, 0xff, table->n_slots * sizeof *table->slots);
    uint32_t mask = mask_of(table);
    for (uint32_t i = 0; i < table->n_places; i++) {
        uint32_t at = table->places[i].hash & mask;
        while (table->slots[at] != SLOT_EMPTY)
            at = (at + 1) & mask;
        table->slots[at] = (table->places[i].hash & ~mask) | i;
    }
}

static void grow_places(PlaceTable *table)
{
    table->n_allocated = MAX(table->n_allocated * 2, PLACES_MIN);
    Place *places = cache_memory_new(table->n_allocated * sizeof *places);
    if (table->n_places)
        memcpy(places, table->places, table->n_places * sizeof *places);
    cache_memory_free(table->places);
    table->places = places;
}

void place_table_insert(PlaceTable *table, const PlaceKey *key, const Entity *entity,
                        struct Name *name)
{
    if (table->n_places >= table->n_slots / 4 * 3)
        grow_slots(table);
    uint32_t hash = hash_of(table, key), at = find_slot(table, key, hash);
    Place *place = place_at(table, at);
    if (!place) {
        if (table->n_places == table->n_allocated)
            grow_places(table);
        table->slots[at] = (hash & ~mask_of(table)) | (uint32_t)table->n_places;
        place = &table->places[table->n_places++];
        *place = (Place){.key = *key, .hash = hash};
    }
    timeline_insert(&place->timeline, &table->pool, entity, name);
}

/* Moves up what a probe would no longer reach across the hole (Knuth 6.4, algorithm R). */
static void empty_slot(PlaceTable *table, uint32_t hole)
{
    uint32_t mask = mask_of(table);
    for (uint32_t at = (hole + 1) & mask; table->slots[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        uint32_t home = place_at(table, at)->hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole] = SLOT_EMPTY;
}

/* The last place takes the room of one whose slot is empty already. */
static void fill_place(PlaceTable *table, uint32_t number)
{
    uint32_t last = (uint32_t)--table->n_places, mask = mask_of(table);
    if (number == last)
        return;
    table->places[number] = table->places[last];
    uint32_t hash = table->places[number].hash, at = hash & mask;
    while (table->slots[at] != ((hash & ~mask) | last))
        at = (at + 1) & mask;
    table->slots[at] = (hash & ~mask) | number;
}

void place_table_remove(PlaceTable *table, const PlaceKey *key, const Entity *entity)
{
    if (table->n_slots == 0)
        return;
    uint32_t at = find_slot(table, key, hash_of(table, key));
    Place *place = place_at(table, at);
    if (!place)
        return;
    timeline_remove(&place->timeline, entity);
    if (!timeline_is_empty(&place->timeline))
        return;
    uint32_t number = (uint32_t)(place - table->places);
    empty_slot(table, at);
    fill_place(table, number);
}

void place_table_clear(PlaceTable *table)
{
    for (size_t i = 0; i < table->n_places; i++)
        timeline_clear(&table->places[i].timeline);
    cache_memory_free(table->places);
    cache_memory_free(table->slots);
    block_pool_clear(&table->pool);
    *table = (PlaceTable){.seed = table->seed};
}
