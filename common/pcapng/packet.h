// SPDX-License-Identifier: GPL-2.0-or-later
/* The fields of an Enhanced Packet Block that pcapng_packet_parse() has passed before: who looks at
 * it once more need not check it again. */
#pragma once

#include "common/pcapng/bytes.h"
#include "common/pcapng/pcapng.h"

/* As pcapng_packet_parse() sets them. */
static inline void pcapng_packet_fields(const uint8_t *block, PcapngPacket *ret,
                                        const uint8_t **ret_options, uint32_t *ret_options_length)
{
    const uint8_t *end = block + load32(block + 4, false) - 4;
    *ret = (PcapngPacket){
        .interface_id = load32(block + 8, false),
        .time_ns = load_time(block + 12, false),
        .captured_length = load32(block + 20, false),
        .original_length = load32(block + 24, false),
        .data = block + PCAPNG_EPB_FIXED,
    };
    const uint8_t *options = ret->data + pad4(ret->captured_length);
    *ret_options_length = (uint32_t)(end - options);
    *ret_options = options < end ? options : NULL;
}
