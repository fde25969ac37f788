// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/source/afpacket-device.h"

#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <glib.h>

#ifndef ARPHRD_RAWIP
#define ARPHRD_RAWIP 519 /* linux/if_arp.h, since Linux 4.14; not in glibc's net/if_arp.h */
#endif

G_STATIC_ASSERT(DEVICE_NAME_MAX == IFNAMSIZ);

uint16_t device_link_type(uint16_t hatype)
{
    switch (hatype) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK: /* all-zero Ethernet addresses */
        return LINKTYPE_ETHERNET;
    case ARPHRD_NONE: /* tun, wireguard */
    case ARPHRD_RAWIP:
    case ARPHRD_TUNNEL: /* ipip */
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
        return LINKTYPE_RAW;
    default:
        return LINKTYPE_UNKNOWN;
    }
}

bool device_is_loopback(uint16_t hatype)
{
    return hatype == ARPHRD_LOOPBACK;
}

void device_name(int socket_fd, int index, char ret_name[DEVICE_NAME_MAX])
{
    struct ifreq request = {.ifr_ifindex = index};
    if (ioctl(socket_fd, SIOCGIFNAME, &request) < 0)
        snprintf(ret_name, DEVICE_NAME_MAX, "if%d", index);
    else
        memcpy(ret_name, request.ifr_name, DEVICE_NAME_MAX);
    ret_name[DEVICE_NAME_MAX - 1] = '\0';
}
