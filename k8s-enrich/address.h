// SPDX-License-Identifier: GPL-2.0-or-later
/* What inventory.h does not tell the world of addresses. */
#pragma once

#include "k8s-enrich/inventory.h"

bool ip_address_is_ipv4(const IpAddress *address);
/* Whether it can be one host somewhere else: global or private unicast, so not loopback,
 * link-local, multicast, broadcast, reserved or unspecified. */
bool ip_address_is_host(const IpAddress *address);
