// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/seen-randoms.h"

#include <glib.h>

#include "node-capture/tls/wire-randoms.h"

typedef struct Namespace {
    unsigned waiting;
    uint64_t hidden_ns; /* the last one; 0: none */
} Namespace;

/* What waits. */
typedef struct Waiting {
    GArray *seen;           /* of TlsSeenHello */
    GHashTable *namespaces; /* inode -> Namespace */
    uint64_t all_hidden_ns; /* of namespaces that found no room */
} Waiting;

struct SeenRandoms {
    GMutex lock;
    Waiting waiting;
};

static Waiting waiting_new(void)
{
    return (Waiting){
        .seen = g_array_new(FALSE, FALSE, sizeof(TlsSeenHello)),
        .namespaces = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free),
    };
}

static void waiting_clear(Waiting *waiting)
{
    g_array_unref(waiting->seen);
    g_hash_table_unref(waiting->namespaces);
}

SeenRandoms *seen_randoms_new(void)
{
    SeenRandoms *seen = g_new0(SeenRandoms, 1);
    g_mutex_init(&seen->lock);
    seen->waiting = waiting_new();
    return seen;
}

SeenRandoms *seen_randoms_free(SeenRandoms *seen)
{
    if (seen) {
        waiting_clear(&seen->waiting);
        g_mutex_clear(&seen->lock);
        g_free(seen);
    }
    return NULL;
}

/* NULL: there are too many. */
static Namespace *namespace_of(Waiting *waiting, uint64_t inode)
{
    Namespace *namespace = g_hash_table_lookup(waiting->namespaces, &inode);
    if (!namespace && g_hash_table_size(waiting->namespaces) < SEEN_RANDOMS_NAMESPACES) {
        namespace = g_new0(Namespace, 1);
        g_hash_table_insert(waiting->namespaces, g_memdup2(&inode, sizeof(inode)), namespace);
    }
    return namespace;
}

static void add(Waiting *waiting, const TlsSeenHello *hello)
{
    Namespace *namespace = namespace_of(waiting, hello->netns_inode);
    if (!namespace) {
        waiting->all_hidden_ns = MAX(waiting->all_hidden_ns, hello->time_unix_ns);
    } else if (!hello->has_random || namespace->waiting >= SEEN_RANDOMS_EACH ||
               waiting->seen->len >= SEEN_RANDOMS_MAX) {
        namespace->hidden_ns = MAX(namespace->hidden_ns, hello->time_unix_ns);
    } else {
        namespace->waiting++;
        g_array_append_vals(waiting->seen, hello, 1);
    }
}

void seen_randoms_add(SeenRandoms *seen, const TlsSeenHello *hello)
{
    g_mutex_lock(&seen->lock);
    add(&seen->waiting, hello);
    g_mutex_unlock(&seen->lock);
}

static bool take_waiting(SeenRandoms *seen, Waiting *ret)
{
    g_mutex_lock(&seen->lock);
    bool any = g_hash_table_size(seen->waiting.namespaces) > 0;
    if (any) {
        *ret = seen->waiting;
        seen->waiting = waiting_new();
    }
    g_mutex_unlock(&seen->lock);
    return any;
}

void seen_randoms_take(SeenRandoms *seen, void (*take)(const TlsSeenHello *hello, void *userdata),
                       void *userdata)
{
    Waiting taken;
    if (!take_waiting(seen, &taken)) {
        return;
    }
    for (guint i = 0; i < taken.seen->len; i++) {
        take(&g_array_index(taken.seen, TlsSeenHello, i), userdata);
    }
    GHashTableIter iter;
    void *inode, *value;
    g_hash_table_iter_init(&iter, taken.namespaces);
    while (g_hash_table_iter_next(&iter, &inode, &value)) {
        const Namespace *namespace = value;
        if (namespace->hidden_ns) {
            take(&(TlsSeenHello){.netns_inode = *(const uint64_t *)inode,
                                 .time_unix_ns = namespace->hidden_ns},
                 userdata);
        }
    }
    if (taken.all_hidden_ns) {
        take(&(TlsSeenHello){.netns_inode = WIRE_RANDOMS_ALL, .time_unix_ns = taken.all_hidden_ns},
             userdata);
    }
    waiting_clear(&taken);
}
