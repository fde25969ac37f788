// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages of rtnetlink(7) about addresses. No I/O. */
#pragma once

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

typedef struct NetnsAddress {
    char device[IF_NAMESIZE]; /* empty in what address_dump_read() tells */
    uint32_t ifindex;
    uint8_t family; /* AF_INET, AF_INET6 */
    uint8_t prefix_length;
    uint8_t scope; /* RT_SCOPE_UNIVERSE, _LINK, _HOST */
    uint8_t length;
    uint8_t bytes[16]; /* `length` of them, network order; the rest 0 */
} NetnsAddress;

typedef struct AddressDumpEvents {
    void (*address)(const NetnsAddress *address, void *userdata); /* of the dump `sequence` */
    void (*changed)(void *userdata); /* one came or went, or the dump is not consistent */
    void (*done)(void *userdata);    /* the dump has ended */
} AddressDumpEvents;

/* One datagram. Returns 0, or -errno that the kernel answered the dump with. What is no whole
 * message is left out. */
int address_dump_read(const uint8_t *data, size_t length, uint32_t sequence,
                      const AddressDumpEvents *events, void *userdata);
