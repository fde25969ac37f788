// SPDX-License-Identifier: GPL-2.0-or-later
/* Who a pod belongs to: the topmost controller that is known. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define OWNER_TEMPLATE_HASH_LABEL "pod-template-hash"
#define OWNER_MIRROR_ANNOTATION   "kubernetes.io/config.mirror"

/* Who controls the ReplicaSets and Jobs that were seen. The objects are borrowed and must outlive
 * it. */
typedef GHashTable OwnerTable;
OwnerTable *owner_table_new(void);
/* Notes the controller of a ReplicaSet or Job; ignores other kinds. */
void owner_table_note(OwnerTable *owners, const char *kind, const json_t *object);

typedef struct Owner {
    char *kind, *name; /* "" if there is none */
} Owner;

/* A ReplicaSet's Deployment and a Job's CronJob, from the table or else by name; a mirror pod's
 * Node; else the controller itself. */
Owner owner_of_pod(const OwnerTable *owners, const json_t *pod, char **problem);
/* The same for a controller that is in no table, by the rules of names alone. `template_hash` is
 * the pod's label pod-template-hash or "". */
Owner owner_by_name(const char *kind, const char *name, const char *template_hash);
/* The owner reference that is marked as the controller, or NULL. Borrowed. */
const json_t *owner_controller(const json_t *metadata, char **problem);
void owner_clear(Owner *owner);
