// SPDX-License-Identifier: GPL-2.0-or-later
/* What is asked of the API server, and under which names. */
#pragma once

#include "k8s-enrich/inventory.h"

typedef struct ApiResource {
    const char *name;       /* plural, as in paths and RBAC rules */
    const char *kind;       /* "Pod"; a list's is this and "List" */
    const char *group;      /* "" is the core */
    EntityKind entity_kind; /* 0: names no packets itself */
    /* The versions that are understood, best first; where there are several the server is asked
     * which it has. */
    const char *versions[3];
} ApiResource;

enum {
    API_RESOURCE_NAMESPACES,
    API_RESOURCE_NODES,
    API_RESOURCE_SERVICES,
    API_RESOURCE_ENDPOINT_SLICES,
    API_RESOURCE_PODS,
    API_RESOURCE_WATCHED,                     /* how many are listed and watched */
    API_RESOURCE_JOBS = API_RESOURCE_WATCHED, /* only single ones are read */
    API_RESOURCES,
};

extern const ApiResource api_resources[API_RESOURCES];
