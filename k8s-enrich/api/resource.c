// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/resource.h"

const ApiResource api_resources[API_RESOURCES] = {
    [API_RESOURCE_NAMESPACES] = {"namespaces", "Namespace", "", ENTITY_NAMESPACE, {"v1"}},
    [API_RESOURCE_NODES] = {"nodes", "Node", "", ENTITY_NODE, {"v1"}},
    [API_RESOURCE_SERVICES] = {"services", "Service", "", ENTITY_SERVICE, {"v1"}},
    [API_RESOURCE_ENDPOINT_SLICES] = {"endpointslices",
                                      "EndpointSlice",
                                      "discovery.k8s.io",
                                      ENTITY_ENDPOINT_SLICE,
                                      {"v1", "v1beta1"}},
    [API_RESOURCE_PODS] = {"pods", "Pod", "", ENTITY_POD, {"v1"}},
    [API_RESOURCE_JOBS] = {"jobs", "Job", "batch", 0, {"v1"}},
};
