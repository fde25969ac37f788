// SPDX-License-Identifier: GPL-2.0-or-later
/* A small cluster and its packets, for the collector's tests. Addresses are written as "10.0.0.1".
 */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "common/pcapng/pcapng.h"
#include "k8s-enrich/inventory.h"

#define SECOND 1000000000ull
#define MILLI  1000000ull

/* The uid is "uid-" and the name; from_ns 0: always. */
void fixture_pod(Inventory *inventory, const char *name, const char *address, uint64_t from_ns);
void fixture_labelled_pod(Inventory *inventory, const char *name, const char *address,
                          const char *key, const char *value, uint64_t from_ns);
/* A service with one endpoint slice over pods ("name", "address", ..., NULL). */
void fixture_service(Inventory *inventory, const char *name, const char *address, uint16_t port,
                     uint16_t target_port, int protocol, ...) G_GNUC_NULL_TERMINATED;

typedef struct FixturePacket {
    const char *src, *dst;
    uint8_t protocol; /* 6, 17, or 1: an echo with the identifier in src_port */
    uint16_t src_port, dst_port;
    uint8_t tcp_flags;
    uint32_t tcp_seq, tcp_ack;
    bool echo_reply;
    uint16_t fragment_id, fragment_offset; /* offset in units of 8 bytes */
    bool more_fragments;
    uint32_t number; /* in the payload, to know it again */
} FixturePacket;

#define FIXTURE_PACKET_MAX 128u
/* An Ethernet frame. The number stands in its last four bytes. */
size_t fixture_frame(const FixturePacket *packet, uint8_t out[FIXTURE_PACKET_MAX]);
uint32_t fixture_number(const uint8_t *frame, size_t length);
/* Appends the frame as a block; direction: PCAPNG_DIRECTION_*. */
void fixture_block(PcapngBuilder *builder, const FixturePacket *packet, uint32_t interface_id,
                   uint64_t time_ns, unsigned direction);
