// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads an inventory file and finds what changed since it was read before, on a thread of its own:
 * in a large cluster that takes longer than a capture can wait. */
#pragma once

#include <glib.h>

#include "k8s-enrich/inventory.h"

typedef struct InventoryChange {
    Entity *entity;
    uint64_t deleted_ns; /* it is gone since then; 0: it is there */
    bool same;           /* the entity is as before; what changed is `netns` */
    char *netns;         /* pods: the path of the namespace; NULL: none is named */
    uint64_t since_ns;   /* when the file says that it began; 0: it does not */
} InventoryChange;

/* One reading. Changes of one come after those of the one before. */
typedef struct InventoryChanges {
    GArray *changes; /* of InventoryChange, in the order of the file, then what is gone */
    char *error;     /* the file could not be read: there are no changes; else NULL */
    char *warning;   /* or NULL */
} InventoryChanges;
InventoryChanges *inventory_changes_free(InventoryChanges *changes); /* NULL is fine */

typedef struct InventoryReader InventoryReader;

/* Reads the file here and now, so that inventory_reader_take() has the first changes; NULL with
 * error if that fails. Pods of other nodes are left out. `ready_fd` (borrowed, an eventfd) is
 * written to when there is more to take. */
InventoryReader *inventory_reader_new(const char *path, const char *node_name, int ready_fd,
                                      GError **error);
InventoryReader *inventory_reader_free(InventoryReader *reader); /* waits for a read under way */
/* Returns at once. Requests that come while one waits are one. */
void inventory_reader_request(InventoryReader *reader);
InventoryChanges *inventory_reader_take(InventoryReader *reader); /* NULL: nothing yet */
