// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's connection tracking as a ConntrackSource. */
#pragma once

#include "node-capture/connections/conntrack.h"

/* In the network namespace at this path; NULL: the caller's own. The thread that opens it enters
 * the namespace, and stays there. */
ConntrackSource *conntrack_socket_new(const char *netns);
