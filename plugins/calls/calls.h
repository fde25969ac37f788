// SPDX-License-Identifier: GPL-2.0-or-later
/* The postdissector that finds calls and shows them as k8s.call.* fields, on both packets of each.
 */
#pragma once

#include "plugins/calls/call.h"

/* Queued on this tap for each half of a call in a packet, in every pass. */
#define CALL_TAP "k8s_call"

void proto_register_k8s_call(void);
void proto_reg_handoff_k8s_call(void);
