// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/place-table.h"

#include <string.h>

#define SLOTS_MIN 64u

/* A block of the array: this, and behind it the timeline. One holder fills a cache line, three fill
 * two, seven four: the latest is always in the first line, beside the key. */
typedef struct Place {
    _Alignas(Timeline) PlaceKey key;
} Place;

typedef struct PlaceSlot {
    uint32_t hash;
    uint32_t block; /* its number plus 1; 0: the slot is empty */
} PlaceSlot;

_Static_assert(sizeof(PlaceKey) == 20, "a key is compared as bytes: no padding");
_Static_assert(sizeof(void *) != 8 ||
                   sizeof(Place) + sizeof(Timeline) + sizeof(Holder) == BLOCK_UNIT,
               "a look-up reads one line");

static Timeline *timeline_of(const Place *place)
{
    return (Timeline *)(place + 1);
}

/* How many holders a block has room for. */
static uint32_t room_in(unsigned size)
{
    return (uint32_t)((((size_t)BLOCK_UNIT << size) - sizeof(Place) - sizeof(Timeline)) /
                      sizeof(Holder));
}

static unsigned size_for(uint32_t n_holders)
{
    unsigned size = 0;
    while (room_in(size) < n_holders)
        size++;
    return size;
}

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
    return words_a[0] == words_b[0] && words_a[1] == words_b[1] && a->port == b->port &&
           a->protocol == b->protocol && a->role == b->role;
}

static Place *place_of(const PlaceTable *table, const PlaceSlot *slot)
{
    return slot->block ? block_array_at(&table->blocks, slot->block - 1) : NULL;
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. A place of
 * another hash is passed by without reading it. */
static size_t find_slot(const PlaceTable *table, const PlaceKey *key, uint32_t hash)
{
    size_t mask = table->n_slots - 1, at = hash & mask;
    for (;; at = (at + 1) & mask) {
        const PlaceSlot *slot = &table->slots[at];
        if (!slot->block || (slot->hash == hash && same_key(&place_of(table, slot)->key, key)))
            return at;
    }
}

const Timeline *place_table_find(const PlaceTable *table, const PlaceKey *key)
{
    if (table->n_slots == 0)
        return NULL;
    const Place *place = place_of(table, &table->slots[find_slot(table, key, hash_of(table, key))]);
    return place ? timeline_of(place) : NULL;
}

static void grow(PlaceTable *table)
{
    PlaceSlot *old = table->slots;
    void *old_memory = table->slot_memory;
    size_t n_old = table->n_slots;
    table->n_slots = MAX(n_old * 2, SLOTS_MIN);
    table->slots = block_memory_new(table->n_slots * sizeof *table->slots, &table->slot_memory);
    memset(table->slots, 0, table->n_slots * sizeof *table->slots);
    size_t mask = table->n_slots - 1;
    for (size_t i = 0; i < n_old; i++) {
        if (!old[i].block)
            continue;
        size_t at = old[i].hash & mask;
        while (table->slots[at].block)
            at = (at + 1) & mask;
        table->slots[at] = old[i];
    }
    g_free(old_memory);
}

static uint32_t new_block(PlaceTable *table, unsigned size)
{
    uint32_t number = block_array_new(&table->blocks, size);
    Place *place = block_array_at(&table->blocks, number);
    *timeline_of(place) = (Timeline){.n_allocated = room_in(size)};
    return number;
}

static void free_block(PlaceTable *table, const PlaceSlot *slot)
{
    const Timeline *timeline = timeline_of(place_of(table, slot));
    block_array_free(&table->blocks, slot->block - 1, size_for(timeline->n_allocated));
}

static void make_room(PlaceTable *table, PlaceSlot *slot)
{
    const Timeline *timeline = timeline_of(place_of(table, slot));
    if (timeline->n_holders < timeline->n_allocated)
        return;
    uint32_t number = new_block(table, size_for(timeline->n_allocated + 1));
    Place *place = block_array_at(&table->blocks, number);
    const Place *old = place_of(table, slot); /* the array may have moved */
    *place = *old;
    timeline = timeline_of(old);
    timeline_of(place)->n_holders = timeline->n_holders;
    memcpy(timeline_of(place)->holders, timeline->holders, timeline->n_holders * sizeof(Holder));
    free_block(table, slot);
    slot->block = number + 1;
}

void place_table_insert(PlaceTable *table, const PlaceKey *key, const Entity *entity,
                        struct Name *name)
{
    if (table->n_places >= table->n_slots / 4 * 3)
        grow(table);
    uint32_t hash = hash_of(table, key);
    PlaceSlot *slot = &table->slots[find_slot(table, key, hash)];
    if (!slot->block) {
        *slot = (PlaceSlot){hash, new_block(table, 0) + 1};
        *place_of(table, slot) = (Place){*key};
        table->n_places++;
    }
    make_room(table, slot);
    timeline_enter(timeline_of(place_of(table, slot)), entity, name);
}

void place_table_remove(PlaceTable *table, const PlaceKey *key, const Entity *entity)
{
    if (table->n_slots == 0)
        return;
    size_t mask = table->n_slots - 1, hole = find_slot(table, key, hash_of(table, key));
    Place *place = place_of(table, &table->slots[hole]);
    if (!place)
        return;
    timeline_leave(timeline_of(place), entity);
    if (timeline_of(place)->n_holders > 0)
        return;
    free_block(table, &table->slots[hole]);
    table->n_places--;
    /* Moves up what a probe would no longer reach across the hole (Knuth 6.4, algorithm R). */
    for (size_t at = (hole + 1) & mask; table->slots[at].block; at = (at + 1) & mask) {
        size_t home = table->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole].block = 0;
}

void place_table_clear(PlaceTable *table)
{
    g_free(table->slot_memory);
    block_array_clear(&table->blocks);
    *table = (PlaceTable){.seed = table->seed};
}
