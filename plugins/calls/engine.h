// SPDX-License-Identifier: GPL-2.0-or-later
/* Which answer belongs to which request, and what is kept of both. What adapters call is declared
 * in adapter.h. */
#pragma once

#include "plugins/calls/adapter.h"

/* Once, when the plugin registers. `proto` keeps what belongs to conversations and frames. */
void call_engine_register(int proto);
/* The halves of calls that the frame has; NULL: none. */
const CallHalf *call_engine_halves(packet_info *pinfo);
/* Each call of the file so far, the oldest request or answer first. */
void call_engine_foreach(void (*each)(const Call *call, void *data), void *data);
