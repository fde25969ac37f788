// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes through the reader: it must end, stay inside, and say what is wrong. */
#include <errno.h>
#include <stdlib.h>

#include "common/pcapng/pcapng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static uint8_t sum; /* so that the reads are not optimised away */

static void touch(const PcapngBlock *block, const uint8_t *data, size_t length)
{
    require(!length || (data >= block->data && length <= block->length &&
                        data + length <= block->data + block->length));
    for (size_t i = 0; i < length; i++)
        sum ^= data[i];
}

static void touch_options(const PcapngBlock *block)
{
    const uint8_t *cursor = block->options;
    PcapngOption option;
    int r;
    touch(block, block->options, block->options_length);
    while ((r = pcapng_option_next(block, &cursor, &option)) > 0) {
        uint32_t u32;
        uint64_t u64;
        touch(block, option.value, option.length);
        require((pcapng_option_u32(block, &option, &u32) == 0) == (option.length == 4));
        require((pcapng_option_u64(block, &option, &u64) == 0) == (option.length == 8));
    }
    require(r == 0); /* pcapng_reader_next() has looked at them all */
}

static void touch_block(const PcapngReader *reader, const PcapngBlock *block)
{
    touch_options(block);
    switch (block->type) {
    case PCAPNG_PACKET:
    case PCAPNG_SIMPLE_PACKET:
    case PCAPNG_OBSOLETE_PACKET:
        require(block->packet.interface_id < pcapng_reader_interfaces(reader));
        touch(block, block->packet.data, block->packet.captured_length);
        break;
    case PCAPNG_SECRETS:
        touch(block, block->secrets.data, block->secrets.length);
        break;
    case PCAPNG_CUSTOM:
    case PCAPNG_CUSTOM_NO_COPY:
        touch(block, block->custom.data, block->custom.length);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PcapngReader *reader = pcapng_reader_new();
    size_t offset = 0, needed;
    PcapngBlock block;
    int r;
    while ((r = pcapng_reader_next(reader, data + offset, size - offset, &block, &needed)) > 0) {
        require(block.length >= 12 && block.length <= size - offset);
        touch_block(reader, &block);
        offset += block.length;
        require(pcapng_reader_offset(reader) == offset);
    }
    if (r == 0)
        require(needed > size - offset && needed <= PCAPNG_BLOCK_MAX);
    else
        require((r == -EBADMSG || r == -EMSGSIZE) && *pcapng_reader_error(reader));
    pcapng_reader_free(reader);
    return 0;
}
