// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/string-pool.h"

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TEXTS_MAX (256u * 1024u) /* some 15 MB that sharing can cost at most */

typedef struct Pooled {
    uint32_t references;
    char text[];
} Pooled;

static GMutex lock;
static GHashTable *texts; /* of Pooled.text; NULL: none */
static uint64_t seed;     /* so that nobody can choose texts that collide */

static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 29;
}

static guint text_hash(gconstpointer data)
{
    const char *text = data;
    size_t length = strlen(text);
    uint64_t hash = seed ^ length;
    for (; length > 0; text += MIN(length, sizeof hash), length -= MIN(length, sizeof hash)) {
        uint64_t word = 0;
        memcpy(&word, text, MIN(length, sizeof word));
        hash = mix(hash ^ word);
    }
    return (guint)(hash >> 32 ^ hash);
}

void string_pool_lock(void)
{
    g_mutex_lock(&lock);
}

void string_pool_unlock(void)
{
    g_mutex_unlock(&lock);
}

bool string_pool_has_room(void)
{
    return !texts || g_hash_table_size(texts) < TEXTS_MAX;
}

static Pooled *pooled_of(const char *text)
{
    return (Pooled *)(text - offsetof(Pooled, text));
}

const char *string_pool_take(const char *text)
{
    if (!texts) {
        seed = (uint64_t)g_random_int() << 32 | g_random_int();
        texts = g_hash_table_new(text_hash, g_str_equal);
    }
    const char *known = g_hash_table_lookup(texts, text);
    if (known) {
        pooled_of(known)->references++;
        return known;
    }
    size_t size = strlen(text) + 1;
    Pooled *pooled = g_malloc(sizeof *pooled + size);
    pooled->references = 1;
    memcpy(pooled->text, text, size);
    g_hash_table_add(texts, pooled->text);
    return pooled->text;
}

void string_pool_drop(const char *text)
{
    Pooled *pooled = pooled_of(text);
    if (--pooled->references > 0)
        return;
    g_hash_table_remove(texts, text);
    g_free(pooled);
    if (g_hash_table_size(texts) == 0)
        g_clear_pointer(&texts, g_hash_table_unref);
}
