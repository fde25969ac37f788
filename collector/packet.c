// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/packet.h"

#include <string.h>

#include "common/pcapng/pcapng.h"

enum { /* https://www.tcpdump.org/linktypes.html */
       LINK_NULL = 0,
       LINK_ETHERNET = 1,
       LINK_RAW = 101,
       LINK_LOOP = 108,
       LINK_LINUX_SLL = 113,
       LINK_IPV4 = 228,
       LINK_IPV6 = 229,
       LINK_LINUX_SLL2 = 276,
};

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86DD,
    ETHERTYPE_QINQ = 0x88A8,
    ETHERTYPE_QINQ_OLD = 0x9100,
};

enum { /* RFC 8200, RFC 4302 */
       IPV6_HOP_BY_HOP = 0,
       IPV6_ROUTING = 43,
       IPV6_FRAGMENT = 44,
       IPV6_AUTHENTICATION = 51,
       IPV6_DESTINATION = 60,
};

#define VLAN_TAGS_MAX       4
#define IPV6_EXTENSIONS_MAX 16

typedef struct Bytes {
    const uint8_t *at;
    size_t left;
} Bytes;

static bool skip(Bytes *bytes, size_t length)
{
    if (bytes->left < length)
        return false;
    bytes->at += length;
    bytes->left -= length;
    return true;
}

static uint16_t load_be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t load_be32(const uint8_t *at)
{
    return (uint32_t)load_be16(at) << 16 | load_be16(at + 2);
}

static void parse_icmp(Bytes bytes, PacketInfo *info)
{
    if (bytes.left < 6)
        return;
    bool v6 = info->protocol == PACKET_ICMPV6;
    uint8_t request = v6 ? 128 : 8, reply = v6 ? 129 : 0;
    if (bytes.at[0] != request && bytes.at[0] != reply)
        return;
    info->src_port = info->dst_port = load_be16(bytes.at + 4);
    info->has_ports = true;
    info->is_echo_reply = bytes.at[0] == reply;
}

static void parse_transport(Bytes bytes, PacketInfo *info)
{
    switch (info->protocol) {
    case PACKET_ICMP:
    case PACKET_ICMPV6:
        parse_icmp(bytes, info);
        return;
    case PACKET_TCP:
    case PACKET_UDP:
    case PACKET_SCTP:
        break;
    default:
        return;
    }
    if (bytes.left < 4)
        return;
    info->src_port = load_be16(bytes.at);
    info->dst_port = load_be16(bytes.at + 2);
    info->has_ports = true;
    if (info->protocol == PACKET_TCP && bytes.left >= 14) {
        info->tcp_seq = load_be32(bytes.at + 4);
        info->tcp_ack = load_be32(bytes.at + 8);
        info->tcp_flags = bytes.at[13];
    }
}

static void parse_ipv4(Bytes bytes, PacketInfo *info)
{
    if (bytes.left < 20 || bytes.at[0] >> 4 != 4)
        return;
    size_t header = (size_t)(bytes.at[0] & 0x0f) * 4;
    if (header < 20)
        return;
    uint16_t fragment = load_be16(bytes.at + 6);
    uint16_t offset = fragment & 0x1fff;
    bool more = fragment & 0x2000;
    info->is_ip = true;
    info->is_fragment = more || offset;
    info->fragment_id = load_be16(bytes.at + 4);
    info->protocol = bytes.at[9];
    ip_address_from_bytes(&info->src, bytes.at + 12, 4);
    ip_address_from_bytes(&info->dst, bytes.at + 16, 4);
    info->is_group |= bytes.at[16] >= 224; /* multicast, reserved and the limited broadcast */
    if (offset == 0 && skip(&bytes, header))
        parse_transport(bytes, info);
}

/* Walks the extension headers. False where no transport header follows that we could read. */
static bool skip_extensions(Bytes *bytes, uint8_t next, PacketInfo *info)
{
    for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
        info->protocol = next;
        size_t length;
        switch (next) {
        case IPV6_HOP_BY_HOP:
        case IPV6_ROUTING:
        case IPV6_DESTINATION:
            length = bytes->left < 2 ? SIZE_MAX : ((size_t)bytes->at[1] + 1) * 8;
            break;
        case IPV6_AUTHENTICATION:
            length = bytes->left < 2 ? SIZE_MAX : ((size_t)bytes->at[1] + 2) * 4;
            break;
        case IPV6_FRAGMENT:
            if (bytes->left < 8)
                return false;
            length = 8;
            info->is_fragment = load_be16(bytes->at + 2) & 0xfff9;
            info->fragment_id = load_be32(bytes->at + 4);
            if (load_be16(bytes->at + 2) & 0xfff8) {
                info->protocol = bytes->at[0];
                return false;
            }
            break;
        default:
            return true;
        }
        if (bytes->left < length)
            return false;
        next = bytes->at[0];
        skip(bytes, length);
    }
    return false;
}

static void parse_ipv6(Bytes bytes, PacketInfo *info)
{
    if (bytes.left < 40 || bytes.at[0] >> 4 != 6)
        return;
    info->is_ip = true;
    ip_address_from_bytes(&info->src, bytes.at + 8, 16);
    ip_address_from_bytes(&info->dst, bytes.at + 24, 16);
    info->is_group |= bytes.at[24] == 0xff;
    uint8_t next = bytes.at[6];
    skip(&bytes, 40);
    if (skip_extensions(&bytes, next, info))
        parse_transport(bytes, info);
}

static void parse_ip(Bytes bytes, PacketInfo *info)
{
    if (!bytes.left)
        return;
    if (bytes.at[0] >> 4 == 4)
        parse_ipv4(bytes, info);
    else if (bytes.at[0] >> 4 == 6)
        parse_ipv6(bytes, info);
}

static void parse_ethertype(Bytes bytes, uint16_t type, PacketInfo *info)
{
    for (int tags = 0; tags < VLAN_TAGS_MAX && (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ ||
                                                type == ETHERTYPE_QINQ_OLD);
         tags++) {
        if (bytes.left < 4)
            return;
        type = load_be16(bytes.at + 2);
        skip(&bytes, 4);
    }
    if (type == ETHERTYPE_IPV4)
        parse_ipv4(bytes, info);
    else if (type == ETHERTYPE_IPV6)
        parse_ipv6(bytes, info);
}

void packet_parse(uint16_t link_type, const uint8_t *data, size_t length, PacketInfo *ret)
{
    Bytes bytes = {data, length};
    memset(ret, 0, sizeof *ret);
    switch (link_type) {
    case LINK_ETHERNET:
        if (length >= 14) {
            ret->is_group = data[0] & 1;
            skip(&bytes, 14);
            parse_ethertype(bytes, load_be16(data + 12), ret);
        }
        break;
    case LINK_LINUX_SLL:
        if (skip(&bytes, 16)) {
            ret->is_group = data[1] == 1 || data[1] == 2; /* broadcast, multicast */
            parse_ethertype(bytes, load_be16(data + 14), ret);
        }
        break;
    case LINK_LINUX_SLL2:
        if (skip(&bytes, 20)) {
            ret->is_group = data[10] == 1 || data[10] == 2;
            parse_ethertype(bytes, load_be16(data), ret);
        }
        break;
    case LINK_NULL:
    case LINK_LOOP:
        if (skip(&bytes,
                 4)) /* an address family in somebody's byte order: the IP version tells better */
            parse_ip(bytes, ret);
        break;
    case LINK_RAW:
    case LINK_IPV4:
    case LINK_IPV6:
        parse_ip(bytes, ret);
        break;
    default:
        break;
    }
}

unsigned packet_direction(const uint8_t *options, size_t length)
{
    while (length >= 4) {
        unsigned code = options[0] | options[1] << 8;
        size_t value = (size_t)(options[2] | options[3] << 8);
        size_t whole = 4 + (value + 3) / 4 * 4;
        if (code == PCAPNG_OPT_END || whole > length)
            return 0;
        if (code == PCAPNG_EPB_FLAGS)
            return value == 4 ? options[4] & 3u : 0;
        options += whole;
        length -= whole;
    }
    return 0;
}

static bool same_datagram(const PacketFragment *slot, uint32_t point, const PacketInfo *info)
{
    return slot->id == info->fragment_id && slot->point == point &&
           slot->protocol == info->protocol && ip_address_equal(&slot->src, &info->src) &&
           ip_address_equal(&slot->dst, &info->dst);
}

void packet_fragments_resolve(PacketFragments *fragments, uint32_t point, PacketInfo *info)
{
    if (!info->is_fragment)
        return;
    uint32_t hash = (info->fragment_id * 2654435761u ^ point * 40503u ^ info->src.bytes[15]) >> 8;
    PacketFragment *slot = &fragments->slots[hash % PACKET_FRAGMENTS];
    if (info->has_ports) {
        *slot = (PacketFragment){info->src,      info->dst,      info->fragment_id, point,
                                 info->src_port, info->dst_port, info->protocol};
    } else if (same_datagram(slot, point, info)) {
        info->src_port = slot->src_port;
        info->dst_port = slot->dst_port;
        info->has_ports = true;
    }
}
