// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/names.h"

#include "k8s-enrich/inventory-file.h"

Inventory *names_load(const char *path, void (*warn)(const char *text, void *userdata),
                      void *userdata, GError **error)
{
    InventoryFile *file = inventory_file_read(path, error);
    if (!file)
        return NULL;
    for (guint i = 0; i < file->warnings->len; i++)
        warn(file->warnings->pdata[i], userdata);
    Inventory *inventory = inventory_new();
    for (guint i = 0; i < file->entities->len; i++)
        inventory_add(inventory, file->entities->pdata[i]);
    inventory_file_free(file);
    return inventory;
}
