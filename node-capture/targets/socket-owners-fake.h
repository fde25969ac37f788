// SPDX-License-Identifier: GPL-2.0-or-later
/* Owners of sockets for tests: what they are told, they tell in dispatch(), in order. Calls may
 * come from any thread. */
#pragma once

#include "node-capture/targets/socket-owners.h"

SocketOwners *socket_owners_fake_new(const SocketOwnersCallbacks *callbacks, void *userdata);
/* Copied. */
void socket_owners_fake_tell(SocketOwners *owners, const SocketNews *news);
/* How often it was wanted, from not being so. */
unsigned socket_owners_fake_wanted(SocketOwners *owners);
