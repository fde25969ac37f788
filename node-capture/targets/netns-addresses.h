// SPDX-License-Identifier: GPL-2.0-or-later
/* The addresses in a network namespace, followed by a netlink socket inside it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "node-capture/targets/address-dump.h"

typedef struct NetnsAddresses NetnsAddresses;

/* netns_fd is borrowed. Returns 0, or -errno (-EPERM: CAP_SYS_ADMIN is missing). */
int netns_addresses_new(int netns_fd, NetnsAddresses **ret);
NetnsAddresses *netns_addresses_free(NetnsAddresses *addresses); /* NULL is fine; returns NULL */
int netns_addresses_fd(const NetnsAddresses *addresses); /* poll for reading; then dispatch */
/* Returns 0, or -errno for a socket that no longer works. *ret_changed: there is another list, or
 * the first one. */
int netns_addresses_dispatch(NetnsAddresses *addresses, bool *ret_changed);
/* Valid until the next dispatch. */
const NetnsAddress *netns_addresses_list(const NetnsAddresses *addresses, size_t *ret_count);
