// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/address-dump.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* IFA_LOCAL is ours; IFA_ADDRESS is the other end where a link has one, else ours as well. */
static bool take_address(const uint8_t *body, size_t length, NetnsAddress *ret_address)
{
    struct ifaddrmsg message;
    if (length < sizeof(message)) {
        return false;
    }
    memcpy(&message, body, sizeof(message));
    size_t wanted = message.ifa_family == AF_INET ? 4 : message.ifa_family == AF_INET6 ? 16 : 0;
    if (wanted == 0) {
        return false;
    }
    NetnsAddress address = {
        .ifindex = message.ifa_index,
        .family = message.ifa_family,
        .prefix_length = message.ifa_prefixlen,
        .scope = message.ifa_scope,
    };
    size_t at = NLMSG_ALIGN(sizeof(message));
    while (at + sizeof(struct rtattr) <= length) {
        struct rtattr attribute;
        memcpy(&attribute, body + at, sizeof(attribute));
        if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > length - at) {
            break;
        }
        bool local = attribute.rta_type == IFA_LOCAL;
        if (attribute.rta_len == RTA_LENGTH(wanted) &&
            (local || (attribute.rta_type == IFA_ADDRESS && address.length == 0))) {
            memcpy(address.bytes, body + at + RTA_LENGTH(0), wanted);
            address.length = (uint8_t)wanted;
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
    *ret_address = address;
    return address.length > 0;
}

int address_dump_read(const uint8_t *data, size_t length, uint32_t sequence,
                      const AddressDumpEvents *events, void *userdata)
{
    struct nlmsghdr header;
    for (size_t at = 0; at + sizeof(header) <= length;) {
        memcpy(&header, data + at, sizeof(header));
        if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > length - at) {
            break;
        }
        const uint8_t *body = data + at + NLMSG_HDRLEN;
        size_t body_length = header.nlmsg_len - NLMSG_HDRLEN;
        bool ours = header.nlmsg_seq == sequence;
        NetnsAddress address;
        int error;
        if (ours && header.nlmsg_flags & NLM_F_DUMP_INTR) {
            events->changed(userdata);
        }
        if (ours && header.nlmsg_type == NLMSG_DONE) {
            events->done(userdata);
        } else if (ours && header.nlmsg_type == NLMSG_ERROR && body_length >= sizeof(error)) {
            memcpy(&error, body, sizeof(error));
            return error;
        } else if (ours && header.nlmsg_type == RTM_NEWADDR) {
            if (take_address(body, body_length, &address)) {
                events->address(&address, userdata);
            }
        } else if (header.nlmsg_type == RTM_NEWADDR || header.nlmsg_type == RTM_DELADDR) {
            events->changed(userdata);
        }
        at += NLMSG_ALIGN((size_t)header.nlmsg_len);
    }
    return 0;
}
