// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/shared-pool.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>

#define SHARED_MAX (256u * 1024u) /* some 15 MB that sharing can cost at most */

typedef struct Pooled {
    uint32_t references, size;
    _Alignas(void *) char bytes[];
} Pooled;

static GMutex lock;
static GHashTable *pool; /* set of Pooled; NULL: empty */
static uint64_t seed;    /* so that nobody can choose texts that collide */
static Pooled *asked;    /* for, with room for so many bytes; NULL: none */
static size_t asked_room;

static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 29;
}

static guint pooled_hash(gconstpointer data)
{
    const Pooled *pooled = data;
    uint64_t hash = seed ^ pooled->size;
    for (size_t at = 0; at < pooled->size; at += sizeof hash) {
        uint64_t word = 0;
        memcpy(&word, pooled->bytes + at, MIN(pooled->size - at, sizeof word));
        hash = mix(hash ^ word);
    }
    return (guint)(hash >> 32 ^ hash);
}

static gboolean pooled_equal(gconstpointer data_a, gconstpointer data_b)
{
    const Pooled *a = data_a, *b = data_b;
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

void shared_pool_lock(void)
{
    g_mutex_lock(&lock);
}

void shared_pool_unlock(void)
{
    g_mutex_unlock(&lock);
}

bool shared_pool_has_room(void)
{
    return !pool || g_hash_table_size(pool) < SHARED_MAX;
}

static void ask_for(const void *bytes, size_t size)
{
    if (!asked || asked_room < size) {
        asked_room = MAX(size, asked_room * 2);
        asked = g_realloc(asked, sizeof *asked + asked_room);
    }
    asked->size = (uint32_t)size;
    memcpy(asked->bytes, bytes, size);
}

const void *shared_pool_take(const void *bytes, size_t size, bool *ret_is_new)
{
    if (!pool) {
        seed = (uint64_t)g_random_int() << 32 | g_random_int();
        pool = g_hash_table_new(pooled_hash, pooled_equal);
    }
    ask_for(bytes, size);
    Pooled *pooled = g_hash_table_lookup(pool, asked);
    if (ret_is_new)
        *ret_is_new = !pooled;
    if (!pooled) {
        pooled = g_malloc(sizeof *pooled + size);
        pooled->references = 0;
        pooled->size = (uint32_t)size;
        memcpy(pooled->bytes, bytes, size);
        g_hash_table_add(pool, pooled);
    }
    pooled->references++;
    return pooled->bytes;
}

static Pooled *pooled_of(const void *bytes)
{
    return (Pooled *)((char *)bytes - offsetof(Pooled, bytes));
}

bool shared_pool_is_last(const void *pooled)
{
    return pooled_of(pooled)->references == 1;
}

void shared_pool_drop(const void *bytes)
{
    Pooled *pooled = pooled_of(bytes);
    if (--pooled->references > 0)
        return;
    g_hash_table_remove(pool, pooled);
    g_free(pooled);
    if (g_hash_table_size(pool) == 0) {
        g_clear_pointer(&pool, g_hash_table_unref);
        g_clear_pointer(&asked, g_free);
        asked_room = 0;
    }
}
