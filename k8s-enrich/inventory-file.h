// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads what `kubectl get pods,services,endpointslices,nodes,namespaces -A -o json` prints: a List,
 * or single objects. Several documents in one file are accepted. Owner of a pod: a ReplicaSet's
 * Deployment through pod-template-hash, a Job's CronJob through its name's suffix (a number of
 * minutes), a mirror pod's Node; else the controller itself. ReplicaSets and Jobs in the file are
 * used if there.
 *
 * A pod is valid from the second in which its node took it up (status.startTime), or else was
 * created, to the one in which its last container finished (phase Succeeded or Failed); a finished
 * pod of which no end is known holds no address. Of init containers only sidecars are named. */
#pragma once

#include <glib.h>

#include "k8s-enrich/inventory.h"

#define INVENTORY_ERROR (inventory_error_quark())
GQuark inventory_error_quark(void);
enum { INVENTORY_ERROR_READ, INVENTORY_ERROR_SYNTAX, INVENTORY_ERROR_OBJECT };

/* Annotation that maps a pod to its network namespace where no kubelet does: a path such as
 * /run/netns/shop-cart. */
#define INVENTORY_NETNS_ANNOTATION "remora.dev/netns"

typedef struct InventoryFile {
    GPtrArray *entities; /* of Entity *, owned */
    GHashTable *netns;   /* pod uid (char *) -> path (char *), from the annotation */
    GPtrArray *warnings; /* of char *: objects that were left out, with file, position or index, and
                            reason */
} InventoryFile;

/* NULL with error naming file, line and column for broken JSON, or the document's number and name
 * for a List that is none, or for a file over 1 GiB. A single malformed object is left out with a
 * warning: the others count; kinds that name no packets are ignored. Objects without
 * creationTimestamp are valid from 0 on. `path` may be a pipe; `name` stands for it in messages. */
InventoryFile *inventory_file_read(const char *path, GError **error);
InventoryFile *inventory_file_parse(const char *text, size_t length, const char *name,
                                    GError **error);
InventoryFile *inventory_file_free(InventoryFile *file);
