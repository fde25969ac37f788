// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as an inventory file; what is read is put into an inventory and asked for. */
#include <glib.h>

#include "k8s-enrich/inventory-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const Entity *entity, void *userdata)
{
    Inventory *inventory = userdata;
    for (size_t i = 0; i < entity->n_addresses; i++) {
        Peer peer;
        inventory_lookup(inventory, &entity->addresses[i], 6, 80, entity->from_ns, &peer);
        /* Whoever asks for an address at the time when somebody has it gets an answer. */
        if (peer.type == PEER_EXTERNAL || peer.from_ns > entity->from_ns)
            g_error("no answer for an address of %s", entity->uid);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GError *error = NULL;
    InventoryFile *file = inventory_file_parse((const char *)data, size, "fuzz", &error);
    g_assert((file != NULL) != (error != NULL));
    g_clear_error(&error);
    if (!file)
        return 0;
    Inventory *inventory = inventory_new();
    for (guint i = 0; i < file->entities->len; i++)
        inventory_add(inventory, g_ptr_array_index(file->entities, i));
    inventory_file_free(file);
    inventory_foreach(inventory, 0, ask, inventory);
    inventory_free(inventory);
    return 0;
}
