// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PcapngReader, pcapng_reader_free)

/* The block as the standard draws it, byte by byte. */
static void test_packet_bytes(void)
{
    static const uint8_t expected[] = {
        0x06, 0,    0,    0,    0x34, 0,    0,    0,    /* type, length 52 */
        0x03, 0,    0,    0,                            /* interface */
        0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55, /* time: high half, low half */
        0x05, 0,    0,    0,    0xDC, 0x05, 0,    0,    /* captured, original */
        'h',  'e',  'l',  'l',  'o',  0,    0,    0,    /* padded */
        0x02, 0,    4,    0,    0x01, 0,    0,    0,    /* epb_flags: inbound */
        0,    0,    0,    0,                            /* opt_endofopt */
        0x34, 0,    0,    0,
    };
    uint8_t memory[64];
    memset(memory, 0xEE, sizeof memory);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    pcapng_build_packet(&builder, 3, 0x1122334455667788, "hello", 5, 1500);
    pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, PCAPNG_DIRECTION_INBOUND);
    g_assert_cmpint(pcapng_build_end(&builder), ==, 52);
    g_assert_cmpmem(memory, builder.length, expected, sizeof expected);
    g_assert_cmpuint(memory[52], ==, 0xEE);
}

static void build_everything(PcapngBuilder *builder)
{
    pcapng_build_section(builder);
    pcapng_build_option_string(builder, PCAPNG_SHB_USERAPPL, "test");
    pcapng_build_end(builder);
    pcapng_build_interface(builder, 1, 262144);
    pcapng_build_option_string(builder, PCAPNG_IF_NAME, "shop/node-1");
    pcapng_build_option_string(builder, PCAPNG_IF_DESCRIPTION, NULL);
    pcapng_build_option_string(builder, PCAPNG_IF_FILTER, "");
    pcapng_build_option_custom(builder, PCAPNG_OPT_CUSTOM_BINARY, 32473, "cus", 3);
    pcapng_build_end(builder);
    pcapng_build_secrets(builder, PCAPNG_SECRETS_TLS, "CLIENT_RANDOM 00 01\n", 20);
    pcapng_build_end(builder);
    pcapng_build_packet(builder, 0, 1700000000123456789u, "abc", 3, 60);
    pcapng_build_option_u64(builder, PCAPNG_EPB_DROPCOUNT, 7);
    pcapng_build_option_u64(builder, PCAPNG_EPB_PACKETID, 0x1122334455667788);
    pcapng_build_end(builder);
    pcapng_build_packet(builder, 0, 1, NULL, 0, 0);
    pcapng_build_end(builder);
    pcapng_build_custom(builder, true, 32473, "12345678", 8);
    pcapng_build_end(builder);
    pcapng_build_statistics(builder, 0, 99);
    pcapng_build_option_u64(builder, PCAPNG_ISB_STARTTIME, 0x1122334455667788);
    pcapng_build_option_u64(builder, PCAPNG_ISB_IFDROP, 5);
}

static void assert_next_option(const PcapngBlock *block, const uint8_t **cursor, uint16_t code,
                               const void *value, size_t length)
{
    PcapngOption option;
    g_assert_cmpint(pcapng_option_next(block, cursor, &option), ==, 1);
    g_assert_cmpuint(option.code, ==, code);
    g_assert_cmpmem(option.value, option.length, value, length);
}

static void assert_next_u64(const PcapngBlock *block, const uint8_t **cursor, uint16_t code,
                            uint64_t expected)
{
    PcapngOption option;
    uint64_t value;
    g_assert_cmpint(pcapng_option_next(block, cursor, &option), ==, 1);
    g_assert_cmpuint(option.code, ==, code);
    g_assert_cmpint(pcapng_option_u64(block, &option, &value), ==, 0);
    g_assert_cmpuint(value, ==, expected);
}

static void assert_no_option(const PcapngBlock *block, const uint8_t *cursor)
{
    PcapngOption option;
    g_assert_cmpint(pcapng_option_next(block, &cursor, &option), ==, 0);
}

static const uint8_t *next(PcapngReader *reader, const PcapngBuilder *built, PcapngBlock *ret)
{
    size_t offset = pcapng_reader_offset(reader), needed;
    g_assert_cmpint(
        pcapng_reader_next(reader, built->data + offset, built->length - offset, ret, &needed), ==,
        1);
    return ret->options;
}

static void test_round_trip(void)
{
    uint8_t memory[1024];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    build_everything(&builder);
    g_assert_cmpint(pcapng_build_end(&builder), >, 0);

    g_autoptr(PcapngReader) reader = pcapng_reader_new();
    PcapngBlock block;
    const uint8_t *cursor = next(reader, &builder, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_SECTION);
    assert_next_option(&block, &cursor, PCAPNG_SHB_USERAPPL, "test", 4);

    cursor = next(reader, &builder, &block);
    g_assert_cmpuint(block.interface.tsresol, ==, 9);
    g_assert_cmpuint(block.interface.snap_length, ==, 262144);
    assert_next_option(&block, &cursor, PCAPNG_IF_TSRESOL, "\t", 1);
    assert_next_option(&block, &cursor, PCAPNG_IF_NAME, "shop/node-1", 11);
    assert_next_option(&block, &cursor, PCAPNG_OPT_CUSTOM_BINARY, "\xD9\x7E\0\0cus", 7);
    assert_no_option(&block, cursor);

    next(reader, &builder, &block);
    g_assert_cmpuint(block.secrets.type, ==, PCAPNG_SECRETS_TLS);
    g_assert_cmpmem(block.secrets.data, block.secrets.length, "CLIENT_RANDOM 00 01\n", 20);

    cursor = next(reader, &builder, &block);
    g_assert_cmpuint(block.packet.time_ns, ==, 1700000000123456789u);
    g_assert_cmpuint(block.packet.original_length, ==, 60);
    g_assert_cmpmem(block.packet.data, block.packet.captured_length, "abc", 3);
    assert_next_u64(&block, &cursor, PCAPNG_EPB_DROPCOUNT, 7);
    assert_next_u64(&block, &cursor, PCAPNG_EPB_PACKETID, 0x1122334455667788);
    assert_no_option(&block, cursor);

    next(reader, &builder, &block);
    g_assert_cmpuint(block.packet.captured_length, ==, 0);
    g_assert_null(block.options);

    next(reader, &builder, &block);
    g_assert_cmpuint(block.custom.enterprise, ==, 32473);
    g_assert_cmpmem(block.custom.data, block.custom.length, "12345678", 8);

    cursor = next(reader, &builder, &block);
    g_assert_cmpuint(block.statistics.time_ns, ==, 99);
    assert_next_u64(&block, &cursor, PCAPNG_ISB_STARTTIME, 0x1122334455667788);
    assert_next_u64(&block, &cursor, PCAPNG_ISB_IFDROP, 5);
    g_assert_cmpuint(pcapng_reader_offset(reader), ==, builder.length);
}

/* With too little memory the blocks before stand whole, and the error stays. */
static void test_full(void)
{
    uint8_t whole[1024];
    PcapngBuilder reference;
    pcapng_builder_init(&reference, whole, sizeof whole);
    build_everything(&reference);
    pcapng_build_end(&reference);
    for (size_t capacity = 0; capacity < reference.length; capacity++) {
        g_autofree uint8_t *memory = g_malloc(capacity + 1);
        PcapngBuilder builder;
        pcapng_builder_init(&builder, memory, capacity);
        build_everything(&builder);
        g_assert_cmpint(pcapng_build_end(&builder), ==, -ENOSPC);
        g_assert_cmpint(pcapng_build_end(&builder), ==, -ENOSPC);
        g_assert_cmpmem(memory, builder.length, whole, builder.length);

        g_autoptr(PcapngReader) reader = pcapng_reader_new();
        PcapngBlock block;
        size_t offset = 0, needed;
        while (offset < builder.length) {
            g_assert_cmpint(pcapng_reader_next(reader, memory + offset, builder.length - offset,
                                               &block, &needed),
                            ==, 1);
            offset += block.length;
        }
    }
}

static int build_wrong(void (*wrong)(PcapngBuilder *builder))
{
    static uint8_t memory[PCAPNG_PACKET_MAX + 200000];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    wrong(&builder);
    int r = pcapng_build_end(&builder);
    g_assert_cmpint(builder.error, ==, r);
    return r;
}

static void wrong_nothing_begun(PcapngBuilder *builder)
{
}

static void wrong_option_outside(PcapngBuilder *builder)
{
    pcapng_build_option_u32(builder, PCAPNG_EPB_FLAGS, 1);
}

static void wrong_not_closed(PcapngBuilder *builder)
{
    pcapng_build_section(builder);
    pcapng_build_interface(builder, 1, 0);
}

static void wrong_packet_length(PcapngBuilder *builder)
{
    pcapng_build_packet(builder, 0, 0, "", PCAPNG_PACKET_MAX + 1, 0);
}

static void wrong_option_length(PcapngBuilder *builder)
{
    static const uint8_t zeros[65536];
    pcapng_build_packet(builder, 0, 0, NULL, 0, 0);
    pcapng_build_option(builder, PCAPNG_OPT_COMMENT, zeros, sizeof zeros);
}

static void wrong_custom_length(PcapngBuilder *builder)
{
    static const uint8_t zeros[65536];
    pcapng_build_packet(builder, 0, 0, NULL, 0, 0);
    pcapng_build_option_custom(builder, PCAPNG_OPT_CUSTOM_BINARY, 1, zeros, 65532);
}

static void test_misuse(void)
{
    g_assert_cmpint(build_wrong(wrong_nothing_begun), ==, -EINVAL);
    g_assert_cmpint(build_wrong(wrong_option_outside), ==, -EINVAL);
    g_assert_cmpint(build_wrong(wrong_not_closed), ==, -EINVAL);
    g_assert_cmpint(build_wrong(wrong_packet_length), ==, -EMSGSIZE);
    g_assert_cmpint(build_wrong(wrong_option_length), ==, -EMSGSIZE);
    g_assert_cmpint(build_wrong(wrong_custom_length), ==, -EMSGSIZE);
}

/* ---- The fast way ----------------------------------------------------------------------------*/

static int build_node_packet(uint8_t *memory, size_t capacity, uint32_t captured_length,
                             bool has_options)
{
    static const char data[] = "0123456789";
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, capacity);
    pcapng_build_packet(&builder, 7, 1700000000123456789u, data, captured_length, 1500);
    if (has_options)
        pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, 0);
    return pcapng_build_end(&builder);
}

static void check_copy(uint32_t captured_length, bool has_options, bool adds_options)
{
    uint8_t block[128], out[256], added[32];
    int length = build_node_packet(block, sizeof block, captured_length, has_options);
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    g_assert_cmpint(pcapng_packet_parse(block, (size_t)length, &packet, &options, &options_length),
                    ==, length);
    int added_length = 0;
    if (adds_options)
        added_length = pcapng_encode_option(added, sizeof added, PCAPNG_OPT_COMMENT, "added", 5);

    PcapngBuilder builder;
    pcapng_builder_init(&builder, out, sizeof out);
    int copied = pcapng_build_packet_copy(&builder, block, (uint32_t)length, 42, added,
                                          (size_t)added_length);
    g_assert_cmpint(copied, ==, builder.length);

    /* The same block, built step by step. */
    uint8_t expected[256];
    PcapngBuilder reference;
    pcapng_builder_init(&reference, expected, sizeof expected);
    pcapng_build_packet(&reference, 42, 1700000000123456789u, "0123456789", captured_length, 1500);
    if (has_options)
        pcapng_build_option_u32(&reference, PCAPNG_EPB_FLAGS, 0);
    if (adds_options)
        pcapng_build_option_string(&reference, PCAPNG_OPT_COMMENT, "added");
    pcapng_build_end(&reference);
    g_assert_cmpmem(out, builder.length, expected, reference.length);

    for (size_t capacity = 0; capacity < (size_t)copied; capacity++) {
        pcapng_builder_init(&builder, out, capacity);
        g_assert_cmpint(pcapng_build_packet_copy(&builder, block, (uint32_t)length, 42, added,
                                                 (size_t)added_length),
                        ==, -ENOSPC);
        g_assert_cmpuint(builder.length, ==, 0);
    }
}

static void test_packet_copy(void)
{
    for (uint32_t captured_length = 0; captured_length <= 10; captured_length++) {
        for (unsigned i = 0; i < 4; i++)
            check_copy(captured_length, i & 1, i & 2);
    }
}

static void test_packet_parse(void)
{
    uint8_t block[128];
    int length = build_node_packet(block, sizeof block, 10, true);
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    /* What follows the block is not looked at. */
    g_assert_cmpint(pcapng_packet_parse(block, sizeof block, &packet, &options, &options_length),
                    ==, length);
    g_assert_cmpuint(packet.interface_id, ==, 7);
    g_assert_cmpuint(packet.time_ns, ==, 1700000000123456789u);
    g_assert_cmpuint(packet.original_length, ==, 1500);
    g_assert_cmpmem(packet.data, packet.captured_length, "0123456789", 10);
    g_assert_cmpuint(options_length, ==, 12);
    g_assert_true(options == block + 40);

    length = build_node_packet(block, sizeof block, 10, false);
    g_assert_cmpint(pcapng_packet_parse(block, sizeof block, &packet, &options, &options_length),
                    ==, length);
    g_assert_null(options);
    g_assert_cmpuint(options_length, ==, 0);
}

static void test_packet_parse_refuses(void)
{
    /* The block: fixed 28, data 12, epb_flags 8, end 4, trailer 4. */
    static const struct {
        size_t offset;
        uint32_t value;
    } cases[] = {
        {0, 5},           /* not an EPB */
        {4, 52},          /* shorter, and the trailer is elsewhere */
        {4, 60},          /* longer than the bytes */
        {4, 31},          /* below the minimum */
        {4, 0xFFFFFFFC},  /* huge */
        {20, 13 + 12},    /* data over the end */
        {20, 0xFFFFFFFF}, /* wraps when padded in 32 bits */
        {40, 0x00050002}, /* option over the next */
        {40, 0xFFFF0002}, /* option over the end */
        {40, 0},          /* ends early */
        {48, 2},          /* does not end */
        {48, 0x00040000}, /* an end with a length */
        {52, 52},         /* trailer differs */
    };
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint8_t block[56];
        g_assert_cmpint(build_node_packet(block, sizeof block, 10, true), ==, sizeof block);
        uint32_t value = GUINT32_TO_LE(cases[i].value);
        memcpy(block + cases[i].offset, &value, sizeof value);
        g_test_message("case %zu", i);
        g_assert_cmpint(
            pcapng_packet_parse(block, sizeof block, &packet, &options, &options_length), ==,
            -EBADMSG);
    }
    uint8_t block[56];
    build_node_packet(block, sizeof block, 10, true);
    for (size_t length = 0; length < sizeof block; length++) {
        g_autofree uint8_t *piece = g_memdup2(block, length);
        g_assert_cmpint(pcapng_packet_parse(piece, length, &packet, &options, &options_length), ==,
                        -EBADMSG);
    }
}

static void test_encode_option(void)
{
    uint8_t out[12];
    g_assert_cmpint(pcapng_encode_option(out, 11, 1, "hello", 5), ==, -ENOSPC);
    g_assert_cmpint(pcapng_encode_option(out, 12, 1, "hello", 5), ==, 12);
    g_assert_cmpmem(out, 12, "\1\0\5\0hello\0\0\0", 12);
    g_assert_cmpint(pcapng_encode_option(out, 4, 1, NULL, 0), ==, 4);
    g_assert_cmpint(pcapng_encode_option(out, 4, 1, NULL, 1), ==, -ENOSPC);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pcapng/builder/packet-bytes", test_packet_bytes);
    g_test_add_func("/pcapng/builder/round-trip", test_round_trip);
    g_test_add_func("/pcapng/builder/full", test_full);
    g_test_add_func("/pcapng/builder/misuse", test_misuse);
    g_test_add_func("/pcapng/builder/encode-option", test_encode_option);
    g_test_add_func("/pcapng/packet/copy", test_packet_copy);
    g_test_add_func("/pcapng/packet/parse", test_packet_parse);
    g_test_add_func("/pcapng/packet/parse-refuses", test_packet_parse_refuses);
    return g_test_run();
}
