// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes through the fast way: what it takes, it copies to something that it takes again, with
 * the same packet in it. */
#include <stdlib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void copy_and_compare(const uint8_t *block, uint32_t length, const PcapngPacket *packet,
                             uint32_t options_length)
{
    uint8_t comment[16];
    int comment_length =
        pcapng_encode_option(comment, sizeof comment, PCAPNG_OPT_COMMENT, "fuzz", 4);
    size_t capacity = length + sizeof comment;
    uint8_t *copy = malloc(capacity);
    require(copy != NULL);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, copy, capacity);
    int copied =
        pcapng_build_packet_copy(&builder, block, length, 99, comment, (size_t)comment_length);
    require(copied == (int)(length + (uint32_t)comment_length + (options_length ? 0 : 4)));

    PcapngPacket again;
    const uint8_t *options;
    uint32_t again_length;
    int r = pcapng_packet_parse(copy, (size_t)copied, &again, &options, &again_length);
    if (r < 0) /* the comment was one too many */
        require(options_length + (uint32_t)comment_length > PCAPNG_OPTIONS_MAX);
    else
        require(r == copied && again.interface_id == 99 && again.time_ns == packet->time_ns &&
                again.original_length == packet->original_length &&
                again.captured_length == packet->captured_length &&
                !memcmp(again.data, packet->data, packet->captured_length));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    int length;
    while ((length = pcapng_packet_parse(data, size, &packet, &options, &options_length)) > 0) {
        require((size_t)length <= size);
        copy_and_compare(data, (uint32_t)length, &packet, options_length);
        data += length;
        size -= (size_t)length;
    }
    return 0;
}
