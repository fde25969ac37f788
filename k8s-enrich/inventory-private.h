// SPDX-License-Identifier: GPL-2.0-or-later
/* The inside of an Inventory, shared by inventory.c (what is known) and inventory-lookup.c (the
 * questions). */
#pragma once

#include <glib.h>

#include "k8s-enrich/place-table.h"
#include "k8s-enrich/record.h"
#include "k8s-enrich/timeline.h"

/* The clocks of the API server and of the nodes may differ by this much. */
#define CLOCK_SLACK_NS (5 * UINT64_C(1000000000))

/* A node or service by name, for those that refer to it so. */
typedef struct Name {
    EntityKind kind;
    unsigned references;               /* by versions and by holders */
    const char *namespace_name, *name; /* shared */
    Timeline *versions;
    Timeline *slices;           /* of a service: all versions of the endpoint slices that name it */
    uint64_t slices_generation; /* the inventory's, of the last change of them */
} Name;

struct Inventory {
    GHashTable *records; /* set of Record */
    GHashTable *names;   /* set of Name */
    PlaceTable places;
    uint64_t generation;
};
