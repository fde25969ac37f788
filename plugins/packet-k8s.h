// SPDX-License-Identifier: GPL-2.0-or-later
/* The postdissector that shows a packet's identity option as k8s.* fields, and what it taps. */
#pragma once

#include <epan/address.h>

/* Queued on the tap "k8s" for each packet whose two ends have a name: k8s.src.name and
 * k8s.dst.name. */
typedef struct K8sTap {
    address src, dst; /* AT_STRINGZ */
} K8sTap;

void proto_register_k8s(void);
void proto_reg_handoff_k8s(void);
