// SPDX-License-Identifier: GPL-2.0-or-later
/* The network devices of one target as its packets name them: interface index -> interface id of
 * the source. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_NAME_MAX 16u /* IFNAMSIZ */

#define LINKTYPE_UNKNOWN  0xffffu
#define LINKTYPE_ETHERNET 1u /* https://www.tcpdump.org/linktypes.html */
#define LINKTYPE_RAW      101u

typedef struct Device {
    int index;          /* in its network namespace */
    uint16_t hatype;    /* ARPHRD_ */
    uint16_t link_type; /* LINKTYPE_; _UNKNOWN: its packets cannot be expressed */
    uint32_t id;        /* interface id; not where the link type is unknown */
} Device;

/* Of an ARPHRD_ value. */
uint16_t device_link_type(uint16_t hatype);
bool device_is_loopback(uint16_t hatype);
/* The name of a device in the namespace that `socket_fd` was opened in; "if7" where it is gone. */
void device_name(int socket_fd, int index, char ret_name[DEVICE_NAME_MAX]);
