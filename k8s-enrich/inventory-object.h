// SPDX-License-Identifier: GPL-2.0-or-later
/* Objects of the Kubernetes API, as JSON, made into entities. */
#pragma once

#include <jansson.h>

#include "k8s-enrich/inventory.h"
#include "k8s-enrich/inventory-owner.h"

/* The kind of an object: its own, else `default_kind` (items of a PodList carry none). "" if there
 * is none, or if the object is of another API group than Kubernetes' own kind of that name (a
 * Knative Service). */
const char *object_kind(const json_t *object, const char *default_kind);
/* "Pod shop/cart-0", as far as it is known. The caller frees. */
char *object_describe(const json_t *object, const char *kind);
/* An annotation's value, or NULL. Borrowed. */
const char *object_annotation(const json_t *object, const char *key);

/* NULL without a problem for a kind that names no packets; NULL with *ret_problem (the caller
 * frees) for a malformed object. */
Entity *object_to_entity(const json_t *object, const char *kind, const OwnerTable *owners,
                         char **ret_problem);
