// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/recent-set.h"

#include <string.h>

#include <glib.h>

#define DIGEST_BYTES 16u
#define SHA256_BYTES 32u

typedef struct Digest {
    guint8 bytes[DIGEST_BYTES];
} Digest;

struct RecentSet {
    GHashTable *known; /* a set of Digest, in `slots` */
    Digest *slots;     /* a ring */
    unsigned size, next, used;
    GChecksum *checksum;
};

static guint digest_hash(gconstpointer key)
{
    guint hash;
    memcpy(&hash, key, sizeof(hash));
    return hash;
}

static gboolean digest_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Digest)) == 0;
}

RecentSet *recent_set_new(unsigned size)
{
    RecentSet *set = g_new0(RecentSet, 1);
    set->known = g_hash_table_new(digest_hash, digest_equal);
    set->slots = g_new(Digest, size);
    set->size = size;
    set->checksum = g_checksum_new(G_CHECKSUM_SHA256);
    return set;
}

RecentSet *recent_set_free(RecentSet *set)
{
    if (set) {
        g_hash_table_unref(set->known);
        g_checksum_free(set->checksum);
        g_free(set->slots);
        g_free(set);
    }
    return NULL;
}

static Digest digest_of(RecentSet *set, const void *bytes, size_t length)
{
    guint8 whole[SHA256_BYTES];
    gsize whole_length = sizeof(whole);
    Digest digest;
    g_checksum_reset(set->checksum);
    g_checksum_update(set->checksum, bytes, (gssize)length);
    g_checksum_get_digest(set->checksum, whole, &whole_length);
    memcpy(digest.bytes, whole, sizeof(digest.bytes));
    return digest;
}

bool recent_set_contains(RecentSet *set, const void *bytes, size_t length)
{
    const Digest digest = digest_of(set, bytes, length);
    return g_hash_table_contains(set->known, &digest);
}

bool recent_set_add(RecentSet *set, const void *bytes, size_t length)
{
    const Digest digest = digest_of(set, bytes, length);
    if (g_hash_table_contains(set->known, &digest)) {
        return false;
    }
    Digest *slot = &set->slots[set->next];
    if (set->used == set->size) {
        g_hash_table_remove(set->known, slot);
    } else {
        set->used++;
    }
    *slot = digest;
    g_hash_table_add(set->known, slot);
    set->next = (set->next + 1) % set->size;
    return true;
}
