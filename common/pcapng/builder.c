// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/pcapng/pcapng.h"

#include <errno.h>

#include "common/pcapng/bytes.h"

#define BLOCK_HEADER   8u /* type, length */
#define BLOCK_TRAILER  4u /* length again */
#define OPTION_HEADER  4u /* code, length */
#define OPTION_MAX     65535u
#define BYTE_ORDER_LE  0x1A2B3C4Du
#define UNKNOWN_LENGTH UINT64_MAX /* a section's length where the writer cannot know it */

void pcapng_builder_init(PcapngBuilder *builder, void *memory, size_t capacity)
{
    *builder = (PcapngBuilder){.data = memory, .capacity = capacity};
}

/* Room for further bytes of the current block, or NULL with the error kept. */
static inline uint8_t *extend(PcapngBuilder *builder, size_t length)
{
    if (G_UNLIKELY(builder->error))
        return NULL;
    if (G_UNLIKELY(builder->capacity - builder->length < length)) {
        builder->error = -ENOSPC;
        return NULL;
    }
    uint8_t *at = builder->data + builder->length;
    builder->length += length;
    return at;
}

static inline void fail(PcapngBuilder *builder, int error)
{
    if (!builder->error)
        builder->error = error;
}

/* Begins a block; returns what follows its header, `body` bytes long. */
static inline uint8_t *begin(PcapngBuilder *builder, uint32_t type, size_t body)
{
    if (G_UNLIKELY(builder->length != builder->block)) /* the one before was not closed */
        fail(builder, -EINVAL);
    uint8_t *at = extend(builder, BLOCK_HEADER + body);
    if (!at)
        return NULL;
    builder->has_options = false;
    store32(at, type);
    return at + BLOCK_HEADER;
}

void pcapng_build_section(PcapngBuilder *builder)
{
    uint8_t *at = begin(builder, PCAPNG_SECTION, 16);
    if (!at)
        return;
    store32(at, BYTE_ORDER_LE);
    store16(at + 4, 1); /* version 1.0 */
    store16(at + 6, 0);
    store64(at + 8, UNKNOWN_LENGTH);
}

void pcapng_build_interface(PcapngBuilder *builder, uint16_t link_type, uint32_t snap_length)
{
    uint8_t *at = begin(builder, PCAPNG_INTERFACE, 8);
    if (!at)
        return;
    store16(at, link_type);
    store16(at + 2, 0);
    store32(at + 4, snap_length);
    const uint8_t nanoseconds = 9;
    pcapng_build_option(builder, PCAPNG_IF_TSRESOL, &nanoseconds, 1);
}

void pcapng_build_packet(PcapngBuilder *builder, uint32_t interface_id, uint64_t time_ns,
                         const void *data, uint32_t captured_length, uint32_t original_length)
{
    if (G_UNLIKELY(captured_length > PCAPNG_PACKET_MAX)) {
        fail(builder, -EMSGSIZE);
        return;
    }
    uint8_t *at = begin(builder, PCAPNG_PACKET, 20 + pad4(captured_length));
    if (!at)
        return;
    store32(at, interface_id);
    store_time(at + 4, time_ns);
    store32(at + 12, captured_length);
    store32(at + 16, original_length);
    store_padded(at + 20, data, captured_length);
}

void pcapng_build_secrets(PcapngBuilder *builder, uint32_t type, const void *data, uint32_t length)
{
    if (length > PCAPNG_BLOCK_MAX) {
        fail(builder, -EMSGSIZE);
        return;
    }
    uint8_t *at = begin(builder, PCAPNG_SECRETS, 8 + pad4(length));
    if (!at)
        return;
    store32(at, type);
    store32(at + 4, length);
    store_padded(at + 8, data, length);
}

void pcapng_build_statistics(PcapngBuilder *builder, uint32_t interface_id, uint64_t time_ns)
{
    uint8_t *at = begin(builder, PCAPNG_STATISTICS, 12);
    if (!at)
        return;
    store32(at, interface_id);
    store_time(at + 4, time_ns);
}

void pcapng_build_custom(PcapngBuilder *builder, bool copy, uint32_t enterprise, const void *data,
                         uint32_t length)
{
    if (length > PCAPNG_BLOCK_MAX) {
        fail(builder, -EMSGSIZE);
        return;
    }
    uint8_t *at = begin(builder, copy ? PCAPNG_CUSTOM : PCAPNG_CUSTOM_NO_COPY, 4 + pad4(length));
    if (!at)
        return;
    store32(at, enterprise);
    store_padded(at + 4, data, length);
}

/* The header of an option; returns where its value goes, padded. */
static uint8_t *begin_option(PcapngBuilder *builder, uint16_t code, size_t length)
{
    if (builder->length == builder->block || code == PCAPNG_OPT_END) {
        fail(builder, -EINVAL);
        return NULL;
    }
    if (length > OPTION_MAX) {
        fail(builder, -EMSGSIZE);
        return NULL;
    }
    uint8_t *at = extend(builder, OPTION_HEADER + pad4(length));
    if (!at)
        return NULL;
    builder->has_options = true;
    store16(at, code);
    store16(at + 2, (uint16_t)length);
    return at + OPTION_HEADER;
}

void pcapng_build_option(PcapngBuilder *builder, uint16_t code, const void *value, size_t length)
{
    uint8_t *at = begin_option(builder, code, length);
    if (at)
        store_padded(at, value, length);
}

void pcapng_build_option_string(PcapngBuilder *builder, uint16_t code, const char *text)
{
    if (text && *text)
        pcapng_build_option(builder, code, text, strlen(text));
}

void pcapng_build_option_u32(PcapngBuilder *builder, uint16_t code, uint32_t value)
{
    uint8_t *at = begin_option(builder, code, sizeof value);
    if (at)
        store32(at, value);
}

void pcapng_build_option_u64(PcapngBuilder *builder, uint16_t code, uint64_t value)
{
    uint8_t *at = begin_option(builder, code, sizeof value);
    if (!at)
        return;
    if (option_is_time(load32(builder->data + builder->block, false), code))
        store_time(at, value);
    else
        store64(at, value);
}

void pcapng_build_option_custom(PcapngBuilder *builder, uint16_t code, uint32_t enterprise,
                                const void *value, size_t length)
{
    if (length > OPTION_MAX) {
        fail(builder, -EMSGSIZE);
        return;
    }
    uint8_t *at = begin_option(builder, code, sizeof enterprise + length);
    if (!at)
        return;
    store32(at, enterprise);
    store_padded(at + sizeof enterprise, value, length);
}

int pcapng_build_end(PcapngBuilder *builder)
{
    size_t options_end = builder->has_options ? OPTION_HEADER : 0;
    if (builder->length == builder->block)
        fail(builder, -EINVAL);
    uint8_t *at = extend(builder, options_end + BLOCK_TRAILER);
    size_t length = builder->length - builder->block;
    if (at && length > PCAPNG_BLOCK_MAX)
        fail(builder, -EMSGSIZE);
    if (builder->error) {
        builder->length = builder->block;
        return builder->error;
    }
    if (options_end)
        store32(at, PCAPNG_OPT_END);
    store32(at + options_end, (uint32_t)length);
    store32(builder->data + builder->block + 4, (uint32_t)length);
    builder->block = builder->length;
    return (int)length;
}

/* What a copy of a block consists of. */
typedef struct CopyPlan {
    size_t kept;   /* bytes of the old block: all up to opt_endofopt */
    size_t end;    /* of options: opt_endofopt's length, or 0 */
    size_t length; /* of the new block */
} CopyPlan;

static inline CopyPlan plan_copy(PcapngBuilder *builder, const uint8_t *block,
                                 uint32_t block_length, size_t options_length)
{
    if (G_UNLIKELY(builder->length != builder->block || options_length % 4))
        fail(builder, -EINVAL);
    CopyPlan plan = {.kept = block_length - BLOCK_TRAILER};
    size_t packet_end = PCAPNG_EPB_FIXED + pad4(load32(block + 20, false));
    /* pcapng_packet_parse() has seen to it that options, where there are any, end with
     * opt_endofopt. */
    if (plan.kept > packet_end)
        plan.kept -= OPTION_HEADER;
    plan.end = options_length || plan.kept > packet_end ? OPTION_HEADER : 0;
    plan.length = plan.kept + options_length + plan.end + BLOCK_TRAILER;
    if (G_UNLIKELY(plan.length > PCAPNG_BLOCK_MAX))
        fail(builder, -EMSGSIZE);
    return plan;
}

static inline void write_tail(uint8_t *at, const CopyPlan *plan, const uint8_t *options,
                              size_t options_length)
{
    if (options_length)
        memcpy(at, options, options_length);
    at += options_length;
    if (plan->end)
        store32(at, PCAPNG_OPT_END);
    store32(at + plan->end, (uint32_t)plan->length);
}

int pcapng_build_packet_copy(PcapngBuilder *builder, const uint8_t *block, uint32_t block_length,
                             uint32_t interface_id, const uint8_t *options, size_t options_length)
{
    CopyPlan plan = plan_copy(builder, block, block_length, options_length);
    uint8_t *at = extend(builder, plan.length);
    if (G_UNLIKELY(!at))
        return builder->error;
    memcpy(at, block, plan.kept);
    store32(at + 4, (uint32_t)plan.length);
    store32(at + 8, interface_id);
    write_tail(at + plan.kept, &plan, options, options_length);
    builder->block = builder->length;
    return (int)plan.length;
}

int pcapng_build_packet_around(PcapngBuilder *builder, const uint8_t *block, uint32_t block_length,
                               uint32_t interface_id, const uint8_t *options, size_t options_length,
                               size_t *ret_kept)
{
    CopyPlan plan = plan_copy(builder, block, block_length, options_length);
    uint8_t *at = extend(builder, plan.length - plan.kept + PCAPNG_EPB_CHANGED);
    if (G_UNLIKELY(!at))
        return builder->error;
    store32(at, PCAPNG_PACKET);
    store32(at + 4, (uint32_t)plan.length);
    store32(at + 8, interface_id);
    write_tail(at + PCAPNG_EPB_CHANGED, &plan, options, options_length);
    builder->block = builder->length;
    *ret_kept = plan.kept;
    return (int)plan.length;
}

int pcapng_encode_option(uint8_t *out, size_t capacity, uint16_t code, const void *value,
                         size_t length)
{
    size_t total = OPTION_HEADER + pad4(length);
    if (length > OPTION_MAX || capacity < total)
        return -ENOSPC;
    store16(out, code);
    store16(out + 2, (uint16_t)length);
    store_padded(out + OPTION_HEADER, value, length);
    return (int)total;
}
