// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes a TCP/IP packet as it would have gone over a wire without a link layer (LINKTYPE_RAW). No
 * I/O, no allocation. RFC 791, 8200, 9293. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/tls/keys.h"

#define TCP_PACKET_LINK_TYPE 101u /* https://www.tcpdump.org/linktypes.html */
#define TCP_PACKET_HEADERS   72u  /* at most: IPv6, TCP and the options of a SYN */
#define TCP_PACKET_DATA_MAX  65000u

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_PSH = 0x08, TCP_ACK = 0x10 };

typedef struct TcpPacket {
    bool is_v6;
    const TlsAddress *src, *dst;
    uint32_t seq, ack;
    uint8_t flags; /* a SYN tells segment size and window scale */
    const uint8_t *data;
    size_t length; /* TCP_PACKET_DATA_MAX at most */
} TcpPacket;

/* Writes TCP_PACKET_HEADERS + length bytes at most, with valid checksums; returns how many. */
size_t tcp_packet_write(uint8_t *out, const TcpPacket *packet);
