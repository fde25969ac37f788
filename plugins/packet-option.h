// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the identity option of a packet (docs/pcapng-identity.md). */
#pragma once

#include "plugins/ws_compat.h"

#include <epan/packet_info.h>

#include "k8s-enrich/identity-option.h"

typedef struct K8sBytes {
    const uint8_t *at; /* after the enterprise number; may be NULL where there is nothing */
    size_t length;
} K8sBytes;

typedef struct K8sOption {
    K8sBytes last;  /* the one that holds: whoever names a packet again appends */
    K8sBytes first; /* of plaintext the node's own, which tells the protocol; else the same */
    uint8_t flags;  /* of the last */
    unsigned count;
} K8sOption;

/* False if there is none. */
bool k8s_option_find(packet_info *pinfo, K8sOption *ret);
/* The last TLV of that type and scope IDENTITY_PACKET, in the last option that has one. */
bool k8s_option_text(const K8sOption *option, IdentityType type, IdentityTlv *ret);
