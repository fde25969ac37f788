// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/early-loss.h"

#include <glib.h>
#include <string.h>

#include "common/seeded-hash.h"

#define NODES_MAX     1000 /* a peer may tell of losses at any number of nodes */
#define OTHERS        "other nodes"
#define TEXT_MAX      300u
#define STAGES        2
#define LINK_ETHERNET 1

typedef struct EarlyLoss {
    char *cluster;
    uint64_t packets[STAGES], from_ns[STAGES];
    GString *text[STAGES]; /* NULL: nothing of this stage */
} EarlyLoss;

struct EarlyLosses {
    GHashTable *nodes; /* name -> EarlyLoss */
};

static void early_loss_free(gpointer data)
{
    EarlyLoss *loss = data;
    for (unsigned i = 0; i < STAGES; i++) {
        if (loss->text[i])
            g_string_free(loss->text[i], TRUE);
    }
    g_free(loss->cluster);
    g_free(loss);
}

EarlyLosses *early_losses_new(void)
{
    EarlyLosses *losses = g_new0(EarlyLosses, 1);
    losses->nodes = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, early_loss_free);
    return losses;
}

EarlyLosses *early_losses_free(EarlyLosses *losses)
{
    if (!losses)
        return NULL;
    g_hash_table_unref(losses->nodes);
    g_free(losses);
    return NULL;
}

static EarlyLoss *loss_of(EarlyLosses *losses, const char *cluster, const char *node)
{
    EarlyLoss *loss = g_hash_table_lookup(losses->nodes, node);
    if (!loss && g_hash_table_size(losses->nodes) >= NODES_MAX) {
        node = OTHERS;
        loss = g_hash_table_lookup(losses->nodes, node);
    }
    if (!loss) {
        loss = g_new0(EarlyLoss, 1);
        loss->cluster = g_strdup(cluster);
        g_hash_table_insert(losses->nodes, g_strdup(node), loss);
    }
    return loss;
}

void early_losses_add(EarlyLosses *losses, const char *cluster, const char *node,
                      OutputLossStage stage, uint64_t packets, uint64_t from_ns, const char *text)
{
    EarlyLoss *loss = loss_of(losses, cluster, node);
    loss->packets[stage] += packets;
    GString *all = loss->text[stage];
    if (!all) {
        loss->text[stage] = g_string_new(text);
        loss->from_ns[stage] = from_ns;
        return;
    }
    loss->from_ns[stage] = MIN(loss->from_ns[stage], from_ns);
    if (all->len + strlen(text) + 2 <= TEXT_MAX) /* the count says the rest */
        g_string_append_printf(all, "; %s", text);
}

static void mark(const EarlyLoss *loss, Output *output, uint32_t interface)
{
    for (unsigned i = 0; i < STAGES; i++) {
        if (loss->text[i])
            output_loss(output, interface, (OutputLossStage)i, loss->packets[i], loss->from_ns[i],
                        loss->text[i]->str);
    }
}

void early_losses_take(EarlyLosses *losses, const char *node, Output *output, uint32_t interface)
{
    const EarlyLoss *loss = g_hash_table_lookup(losses->nodes, node);
    if (!loss)
        return;
    mark(loss, output, interface);
    g_hash_table_remove(losses->nodes, node);
}

void early_losses_finish(EarlyLosses *losses, Output *output)
{
    GHashTableIter iter;
    gpointer node, value;
    g_hash_table_iter_init(&iter, losses->nodes);
    while (g_hash_table_iter_next(&iter, &node, &value)) {
        const EarlyLoss *loss = value;
        const CapturePoint point = {.cluster = loss->cluster,
                                    .node = node,
                                    .device = "",
                                    .target_uid = "",
                                    .link_type = LINK_ETHERNET};
        mark(loss, output, output_interface(output, &point, 0, "", "", ""));
    }
    g_hash_table_remove_all(losses->nodes);
}
