// SPDX-License-Identifier: GPL-2.0-or-later
/* The fast way for the blocks that remora-node makes: one look at each packet, no reader. */
#include "common/pcapng/packet.h"

#include <errno.h>

/* Options must fill the space exactly and end with opt_endofopt, which pcapng_build_packet_copy()
 * replaces. */
static bool options_are_whole(const uint8_t *options, size_t length)
{
    while (length >= 4) {
        uint16_t code = load16(options, false);
        size_t size = 4 + pad4(load16(options + 2, false));
        if (code == PCAPNG_OPT_END)
            return length == 4 && size == 4;
        if (size > length)
            return false;
        options += size;
        length -= size;
    }
    return false;
}

int pcapng_packet_parse(const uint8_t *bytes, size_t length, PcapngPacket *ret,
                        const uint8_t **ret_options, uint32_t *ret_options_length)
{
    const size_t minimum = PCAPNG_EPB_FIXED + 4;
    const size_t maximum = minimum + PCAPNG_PACKET_MAX + PCAPNG_OPTIONS_MAX;
    if (G_UNLIKELY(length < minimum || load32(bytes, false) != PCAPNG_PACKET))
        return -EBADMSG;
    uint32_t block_length = load32(bytes + 4, false);
    uint32_t captured_length = load32(bytes + 20, false);
    if (G_UNLIKELY(block_length < minimum || block_length > length || block_length > maximum ||
                   block_length % 4 || captured_length > PCAPNG_PACKET_MAX ||
                   pad4(captured_length) > block_length - minimum ||
                   load32(bytes + block_length - 4, false) != block_length))
        return -EBADMSG;
    const uint8_t *options = bytes + PCAPNG_EPB_FIXED + pad4(captured_length);
    uint32_t options_length = (uint32_t)(bytes + block_length - 4 - options);
    if (options_length && G_UNLIKELY(options_length > PCAPNG_OPTIONS_MAX ||
                                     !options_are_whole(options, options_length)))
        return -EBADMSG;

    pcapng_packet_fields(bytes, ret, ret_options, ret_options_length);
    return (int)block_length;
}
