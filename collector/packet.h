// SPDX-License-Identifier: GPL-2.0-or-later
/* What the vantage choice and the names need to know of a packet: link, network and transport
 * headers, no further. No I/O, no allocation; every length is checked; a packet cut short gives
 * what is there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

enum {
    PACKET_ICMP = 1,
    PACKET_TCP = 6,
    PACKET_UDP = 17,
    PACKET_ICMPV6 = 58,
    PACKET_SCTP = 132,
};

#define PACKET_TCP_SYN 0x02u
#define PACKET_TCP_ACK 0x10u

typedef struct PacketInfo {
    IpAddress src, dst;          /* if is_ip */
    uint16_t src_port, dst_port; /* if has_ports; ICMP echo: the identifier in both */
    uint8_t protocol;            /* IANA number behind the extension headers */
    uint8_t tcp_flags;
    uint32_t tcp_seq, tcp_ack;
    uint32_t fragment_id;
    bool is_ip;
    bool has_ports;
    bool is_fragment; /* part of a datagram; only its first fragment has ports */
    bool is_echo_reply;
    bool is_group; /* to more than one: broadcast or multicast, by link or by IP address */
} PacketInfo;

/* `link_type` is a LINKTYPE_ value. Packets of unknown link types and of other protocols than IP
 * leave is_ip false. */
void packet_parse(uint16_t link_type, const uint8_t *data, size_t length, PacketInfo *ret);

/* The ports are an identifier, then. */
static inline bool packet_is_echo(const PacketInfo *info)
{
    return info->protocol == PACKET_ICMP || info->protocol == PACKET_ICMPV6;
}

/* Direction (PCAPNG_DIRECTION_*, 0: unknown) from the options of a little endian packet block. */
unsigned packet_direction(const uint8_t *options, size_t length);

/* Ports of the fragments that have none, from the first fragment of the same datagram and capture
 * point. Of fixed size: a datagram that is pushed out loses nothing but its later fragments' ports.
 */
#define PACKET_FRAGMENTS 1024u

typedef struct PacketFragment {
    IpAddress src, dst;
    uint32_t id, point;
    uint16_t src_port, dst_port;
    uint8_t protocol;
} PacketFragment;

typedef struct PacketFragments {
    PacketFragment slots[PACKET_FRAGMENTS];
} PacketFragments;

/* Remembers a first fragment, completes a later one. `point` tells capture points apart. */
void packet_fragments_resolve(PacketFragments *fragments, uint32_t point, PacketInfo *info);
