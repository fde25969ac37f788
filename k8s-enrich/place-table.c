// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/place-table.h"

#include <string.h>

#define SLOTS_MIN 64u

/* A block of the array: this, and behind it the timeline. One holder fills a cache line, three fill
 * two, seven four: the latest is always in the first line, beside the key. */
typedef struct Place {
    _Alignas(Timeline) PlaceKey key;
} Place;

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

/* As common/seeded-hash.h, for keys of one length: a sum of products with secret factors, whose
 * upper half collides by chance only. The role is only in the highest bits, so that the slots of an
 * address' roles stand side by side: asking for one after the other is cheap. */
static uint32_t hash_of(const PlaceTable *table, const PlaceKey *key)
{
    uint32_t words[4];
    memcpy(words, key->address.bytes, sizeof words);
    uint64_t sum = table->seeds[4] * ((uint32_t)key->protocol << 16 | key->port);
    for (unsigned i = 0; i < 4; i++)
        sum += table->seeds[i] * words[i];
    return (uint32_t)(sum >> 32) ^ (uint32_t)key->role << 29;
}

static bool same_key(const PlaceKey *a, const PlaceKey *b)
{
    uint64_t words_a[2], words_b[2];
    memcpy(words_a, a->address.bytes, sizeof words_a);
    memcpy(words_b, b->address.bytes, sizeof words_b);
    return words_a[0] == words_b[0] && words_a[1] == words_b[1] && a->port == b->port &&
           a->protocol == b->protocol && a->role == b->role;
}

/* What a slot has of the hash, so that a place of another one is hardly ever read; never 0. */
static uint8_t tag_of(uint32_t hash)
{
    return (uint8_t)MAX(hash >> 24, 1);
}

/* Of a slot that is not empty. */
static Place *place_of(const PlaceTable *table, size_t slot)
{
    return block_array_at(&table->blocks, table->numbers[slot]);
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. */
static size_t find_slot(const PlaceTable *table, const PlaceKey *key, uint32_t hash)
{
    size_t mask = table->n_slots - 1, at = hash & mask;
    uint8_t tag = tag_of(hash);
    while (table->tags[at] && (table->tags[at] != tag || !same_key(&place_of(table, at)->key, key)))
        at = (at + 1) & mask;
    return at;
}

const Timeline *place_table_find(const PlaceTable *table, const PlaceKey *key)
{
    if (table->n_slots == 0)
        return NULL;
    size_t slot = find_slot(table, key, hash_of(table, key));
    return table->tags[slot] ? timeline_of(place_of(table, slot)) : NULL;
}

static void grow(PlaceTable *table)
{
    PlaceTable old = *table;
    table->n_slots = MAX(old.n_slots * 2, SLOTS_MIN);
    table->numbers =
        block_memory_new(table->n_slots * (sizeof *table->numbers + 1), &table->slot_memory);
    table->tags = (uint8_t *)(table->numbers + table->n_slots);
    memset(table->tags, 0, table->n_slots);
    size_t mask = table->n_slots - 1;
    for (size_t i = 0; i < old.n_slots; i++) {
        if (!old.tags[i])
            continue;
        size_t at = hash_of(table, &place_of(&old, i)->key) & mask;
        while (table->tags[at])
            at = (at + 1) & mask;
        table->tags[at] = old.tags[i];
        table->numbers[at] = old.numbers[i];
    }
    g_free(old.slot_memory);
}

static uint32_t new_block(PlaceTable *table, unsigned size)
{
    uint32_t number = block_array_new(&table->blocks, size);
    Place *place = block_array_at(&table->blocks, number);
    *timeline_of(place) = (Timeline){.n_allocated = room_in(size)};
    return number;
}

static void free_block(PlaceTable *table, size_t slot)
{
    const Timeline *timeline = timeline_of(place_of(table, slot));
    block_array_free(&table->blocks, table->numbers[slot], size_for(timeline->n_allocated));
}

static void make_room(PlaceTable *table, size_t slot)
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
    table->numbers[slot] = number;
}

void place_table_insert(PlaceTable *table, const PlaceKey *key, const Entity *entity,
                        struct Name *name)
{
    if (table->n_places >= table->n_slots / 4 * 3)
        grow(table);
    uint32_t hash = hash_of(table, key);
    size_t slot = find_slot(table, key, hash);
    if (!table->tags[slot]) {
        table->tags[slot] = tag_of(hash);
        table->numbers[slot] = new_block(table, 0);
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
    if (!table->tags[hole])
        return;
    Timeline *timeline = timeline_of(place_of(table, hole));
    timeline_leave(timeline, entity);
    if (timeline->n_holders > 0)
        return;
    free_block(table, hole);
    table->n_places--;
    /* Moves up what a probe would no longer reach across the hole (Knuth 6.4, algorithm R). */
    for (size_t at = (hole + 1) & mask; table->tags[at]; at = (at + 1) & mask) {
        size_t home = hash_of(table, &place_of(table, at)->key) & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->tags[hole] = table->tags[at];
            table->numbers[hole] = table->numbers[at];
            hole = at;
        }
    }
    table->tags[hole] = 0;
}

void place_table_clear(PlaceTable *table)
{
    g_free(table->slot_memory);
    block_array_clear(&table->blocks);
    PlaceTable empty = {0};
    memcpy(empty.seeds, table->seeds, sizeof empty.seeds);
    *table = empty;
}
