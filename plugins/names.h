// SPDX-License-Identifier: GPL-2.0-or-later
/* What an end of a packet is called: texts of its identity option, for showing. */
#pragma once

#include <epan/packet_info.h>

#include "plugins/k8s-identity.h"

/* In the packet's memory; NULL where nothing was told. */
const char *k8s_text(packet_info *pinfo, const IdentityTlv *tlv);
/* "namespace/name", or the name where there is no namespace. */
const char *k8s_qualified_name(packet_info *pinfo, const IdentityTlv *namespace,
                               const IdentityTlv *name);
/* namespace/pod, namespace/service, node, or the address; NULL when it has none of these. */
const char *k8s_end_name(packet_info *pinfo, const K8sEnd *end, K8sDirection direction);
/* The namespace of the service at an end, which is its own unless told otherwise. */
const IdentityTlv *k8s_service_namespace(const K8sEnd *end);
