// SPDX-License-Identifier: GPL-2.0-or-later
/* The one Enhanced Packet Block that a capture writes: fixed fields, packet, epb_flags. The same
 * bytes as the builder's of common/pcapng (a test compares them), but the room is checked once for
 * the whole block and a VLAN tag that the kernel took out goes back in while copying. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/pcapng/bytes.h"

#define EPB_VLAN_OFFSET 12u /* behind the two Ethernet addresses */
#define EPB_VLAN_LENGTH 4u
#define EPB_TAIL        16u /* epb_flags, opt_endofopt, block length */

typedef struct EpbPacket {
    uint32_t interface_id;
    uint64_t time_ns;
    uint32_t captured_length; /* without the VLAN tag */
    uint32_t original_length;
    uint32_t flags;
    const uint8_t *data;
    bool has_vlan; /* then captured_length is at least EPB_VLAN_OFFSET */
    uint16_t vlan_tpid, vlan_tci;
} EpbPacket;

/* An upper bound for any packet of that captured length. */
static inline uint32_t epb_room(uint32_t captured_length)
{
    return PCAPNG_EPB_FIXED + (uint32_t)pad4(captured_length + EPB_VLAN_LENGTH) + EPB_TAIL;
}

/* Writes at most epb_room() bytes; returns the block's length. */
static inline uint32_t epb_write(uint8_t *out, const EpbPacket *packet)
{
    uint32_t tag = packet->has_vlan ? EPB_VLAN_LENGTH : 0;
    uint32_t captured = packet->captured_length + tag;
    uint32_t padded = (uint32_t)pad4(captured);
    uint32_t length = PCAPNG_EPB_FIXED + padded + EPB_TAIL;
    store32(out, PCAPNG_PACKET);
    store32(out + 4, length);
    store32(out + 8, packet->interface_id);
    store_time(out + 12, packet->time_ns);
    store32(out + 20, captured);
    store32(out + 24, packet->original_length + tag);
    uint8_t *data = out + PCAPNG_EPB_FIXED;
    if (padded)
        store32(data + padded - 4, 0);
    if (G_LIKELY(!tag)) {
        memcpy(data, packet->data, captured);
    } else {
        const uint8_t vlan[EPB_VLAN_LENGTH] = {
            (uint8_t)(packet->vlan_tpid >> 8), (uint8_t)packet->vlan_tpid,
            (uint8_t)(packet->vlan_tci >> 8), (uint8_t)packet->vlan_tci};
        memcpy(data, packet->data, EPB_VLAN_OFFSET);
        memcpy(data + EPB_VLAN_OFFSET, vlan, EPB_VLAN_LENGTH);
        memcpy(data + EPB_VLAN_OFFSET + EPB_VLAN_LENGTH, packet->data + EPB_VLAN_OFFSET,
               packet->captured_length - EPB_VLAN_OFFSET);
    }
    uint8_t *tail = data + padded;
    store16(tail, PCAPNG_EPB_FLAGS);
    store16(tail + 2, 4);
    store32(tail + 4, packet->flags);
    store32(tail + 8, PCAPNG_OPT_END);
    store32(tail + 12, length);
    return length;
}
