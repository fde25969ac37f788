// SPDX-License-Identifier: GPL-2.0-or-later
/* From a dissected packet to messages: the fields that adapters want, in their order. */
#pragma once

#include "plugins/calls/adapter.h"

/* When all of Wireshark's protocols are registered. */
void call_messages_handoff(void);
/* Field numbers of all that is wanted, for set_postdissector_wanted_hfids(); the caller's. */
GArray *call_messages_wanted(void);
/* Asks for the fields in the next packet that has a tree, as a display filter does. */
void call_messages_prime(void);
/* Gives each message of the packet to its adapter. */
void call_messages_each(packet_info *pinfo, proto_tree *tree);
