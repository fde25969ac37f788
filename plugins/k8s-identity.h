// SPDX-License-Identifier: GPL-2.0-or-later
/* One packet's identity option, decoded: which TLV says what of which end. Nothing is copied. */
#pragma once

#include "k8s-enrich/identity-option.h"

typedef enum K8sDirection { K8S_SRC, K8S_DST, K8S_DIRECTIONS } K8sDirection;

typedef struct K8sEnd {
    uint64_t entity; /* 0: not told */
    uint8_t type;    /* IdentityPeer, or one that a later version knows */
    bool has_pid;
    uint32_t pid;
    IdentityTlv text[IDENTITY_NO_SECRETS + 1]; /* by IdentityType; length 0: not told */
    /* Of the attributes only how many there are: entities.c keeps them. */
    unsigned n_uids, n_labels, n_containers;
} K8sEnd;

typedef struct K8sIdentity {
    uint8_t flags; /* IDENTITY_FLAG_* */
    bool has_flow_id;
    uint64_t flow_id;
    K8sEnd end[K8S_DIRECTIONS];
    IdentityTlv
        packet[IDENTITY_L7 - IDENTITY_CLUSTER + 1]; /* by IdentityType, from IDENTITY_CLUSTER */
} K8sIdentity;

/* `bytes` follow the enterprise number; *ret points into them. 0, or the error of
 * identity_reader_init(), or -EBADMSG for a TLV that runs over the end, a number of the wrong
 * length, text with a NUL, or attributes of no entity. *ret is always written: after an error it
 * has what comes before it. */
int k8s_identity_decode(const uint8_t *bytes, size_t length, K8sIdentity *ret);

/* The end that a TLV speaks of, or -1 when it speaks of none. */
int k8s_identity_direction(const IdentityTlv *tlv);
