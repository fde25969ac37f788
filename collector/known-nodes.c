// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/known-nodes.h"

#include <glib.h>

#include "common/seeded-hash.h"

#define NODES_MAX 10000u /* a peer may call itself something else each time it comes */

struct KnownNodes {
    GHashTable *nodes; /* "cluster\nname" -> KnownNode */
};

static void node_free(gpointer data)
{
    KnownNode *node = data;
    g_free(node->cluster);
    g_free(node->name);
    g_free(node->boot_id);
    g_free(node);
}

KnownNodes *known_nodes_new(void)
{
    KnownNodes *nodes = g_new0(KnownNodes, 1);
    nodes->nodes = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, node_free);
    return nodes;
}

KnownNodes *known_nodes_free(KnownNodes *nodes)
{
    if (!nodes)
        return NULL;
    g_hash_table_unref(nodes->nodes);
    g_free(nodes);
    return NULL;
}

static gboolean is_away(gpointer key, gpointer node, gpointer userdata)
{
    return ((const KnownNode *)node)->live == 0;
}

KnownNode *known_nodes_get(KnownNodes *nodes, const char *cluster, const char *name)
{
    g_autofree char *key = g_strdup_printf("%s\n%s", cluster, name);
    KnownNode *node = g_hash_table_lookup(nodes->nodes, key);
    if (node)
        return node;
    if (g_hash_table_size(nodes->nodes) >= NODES_MAX)
        g_hash_table_foreach_remove(nodes->nodes, is_away, NULL);
    node = g_new0(KnownNode, 1);
    node->cluster = g_strdup(cluster);
    node->name = g_strdup(name);
    g_hash_table_insert(nodes->nodes, g_steal_pointer(&key), node);
    return node;
}

void known_nodes_foreach(KnownNodes *nodes, void (*function)(KnownNode *node, void *userdata),
                         void *userdata)
{
    GHashTableIter iter;
    gpointer node;
    g_hash_table_iter_init(&iter, nodes->nodes);
    while (g_hash_table_iter_next(&iter, NULL, &node))
        function(node, userdata);
}
