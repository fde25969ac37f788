// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"
#include "tests/common/handmade.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PcapngReader, pcapng_reader_free)

/* The next block; it must be there. */
static size_t next(PcapngReader *reader, const Handmade *hand, size_t offset, PcapngBlock *ret)
{
    size_t needed;
    int r = pcapng_reader_next(reader, hand->bytes->data + offset, hand->bytes->len - offset, ret,
                               &needed);
    if (r != 1)
        g_error("block at %zu: %d, %s", offset, r, pcapng_reader_error(reader));
    g_assert_cmpuint(pcapng_reader_offset(reader), ==, offset + ret->length);
    return offset + ret->length;
}

/* Reads until something is wrong; returns what. Everything before it must be fine. */
static int read_until_error(const Handmade *hand, char **ret_message)
{
    g_autoptr(PcapngReader) reader = pcapng_reader_new();
    size_t offset = 0, needed;
    PcapngBlock block;
    int r;
    while ((r = pcapng_reader_next(reader, hand->bytes->data + offset, hand->bytes->len - offset,
                                   &block, &needed)) > 0)
        offset += block.length;
    *ret_message = g_strdup(pcapng_reader_error(reader));
    return r;
}

static void assert_fails(Handmade *hand, int error, const char *expected)
{
    g_autofree char *message = NULL;
    g_assert_cmpint(read_until_error(hand, &message), ==, error);
    g_assert_cmpstr(message, ==, expected);
    g_byte_array_set_size(hand->bytes, 0);
}

static void check_options(const PcapngBlock *packet)
{
    const uint8_t *cursor = packet->options;
    PcapngOption option;
    uint32_t flags;
    uint64_t drops;
    g_assert_cmpint(pcapng_option_next(packet, &cursor, &option), ==, 1);
    g_assert_cmpuint(option.code, ==, PCAPNG_EPB_FLAGS);
    g_assert_cmpint(pcapng_option_u32(packet, &option, &flags), ==, 0);
    g_assert_cmpuint(flags, ==, 2);
    g_assert_cmpint(pcapng_option_u64(packet, &option, &drops), ==, -EBADMSG);
    g_assert_cmpint(pcapng_option_next(packet, &cursor, &option), ==, 1);
    g_assert_cmpuint(option.code, ==, PCAPNG_EPB_DROPCOUNT);
    g_assert_cmpint(pcapng_option_u64(packet, &option, &drops), ==, 0);
    g_assert_cmpuint(drops, ==, 0x0102030405060708);
    g_assert_cmpint(pcapng_option_next(packet, &cursor, &option), ==, 1);
    g_assert_cmpuint(option.code, ==, PCAPNG_OPT_COMMENT);
    g_assert_cmpmem(option.value, option.length, "hello", 5);
    g_assert_cmpint(pcapng_option_next(packet, &cursor, &option), ==, 0);
    g_assert_cmpint(pcapng_option_next(packet, &cursor, &option), ==, 0);
}

static void add_section(Handmade *hand, bool big_endian, uint16_t link_type, const char *payload)
{
    hand->big_endian = big_endian;
    hand_section(hand);
    hand_interface(hand, link_type, 96, 9, 0);
    hand_packet(hand, 0, 1700000000123456789u, payload);
    hand_option_number(hand, 2, 4, 2);
    hand_option_number(hand, 4, 8, 0x0102030405060708);
    hand_option(hand, 1, "hello", 5);
    hand_number(hand, 4, 0);
    hand_end(hand);
}

static size_t check_section(PcapngReader *reader, const Handmade *hand, size_t offset,
                            bool big_endian, uint16_t link_type, const char *payload)
{
    PcapngBlock block;
    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_SECTION);
    g_assert(block.swapped == big_endian);
    g_assert_null(block.options);
    g_assert_cmpuint(pcapng_reader_interfaces(reader), ==, 0);
    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_INTERFACE);
    g_assert_cmpuint(block.interface.link_type, ==, link_type);
    g_assert_cmpuint(block.interface.snap_length, ==, 96);
    g_assert_cmpuint(block.interface.tsresol, ==, 9);
    g_assert_cmpuint(pcapng_reader_interfaces(reader), ==, 1);
    g_assert_cmpuint(pcapng_reader_interface(reader, 0)->link_type, ==, link_type);
    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_PACKET);
    g_assert_cmpuint(block.packet.interface_id, ==, 0);
    g_assert_cmpuint(block.packet.time_ns, ==, 1700000000123456789u);
    g_assert_cmpuint(block.packet.original_length, ==, strlen(payload));
    g_assert_cmpmem(block.packet.data, block.packet.captured_length, payload, strlen(payload));
    check_options(&block);
    return offset;
}

static void test_byte_orders(Handmade *hand, gconstpointer data)
{
    add_section(hand, false, 1, "four");
    add_section(hand, true, 113, "seven77");
    add_section(hand, false, 276, "");
    g_autoptr(PcapngReader) reader = pcapng_reader_new();
    size_t offset = check_section(reader, hand, 0, false, 1, "four");
    offset = check_section(reader, hand, offset, true, 113, "seven77");
    offset = check_section(reader, hand, offset, false, 276, "");
    g_assert_cmpuint(offset, ==, hand->bytes->len);
}

/* With any part of a file the reader asks for more and remembers nothing wrong. */
static void test_pieces(Handmade *hand, gconstpointer data)
{
    add_section(hand, true, 1, "payload");
    g_autoptr(PcapngReader) reader = pcapng_reader_new();
    size_t start = 0;
    unsigned blocks = 0;
    for (size_t end = 0; end <= hand->bytes->len; end++) {
        /* A copy of exactly that size: the sanitizer sees a look beyond it. */
        g_autofree uint8_t *piece = g_memdup2(hand->bytes->data + start, end - start);
        PcapngBlock block;
        size_t needed = 0;
        int r = pcapng_reader_next(reader, piece, end - start, &block, &needed);
        if (r == 0) {
            g_assert_cmpuint(needed, >, end - start);
            g_assert_cmpuint(start + needed, <=, hand->bytes->len + 12);
            continue;
        }
        g_assert_cmpint(r, ==, 1);
        g_assert_cmpuint(block.length, ==, end - start);
        start = end;
        blocks++;
    }
    g_assert_cmpuint(blocks, ==, 3);
}

static void test_times(Handmade *hand, gconstpointer data)
{
    static const struct {
        uint8_t tsresol;
        int64_t tsoffset;
        uint64_t units, expected_ns;
    } cases[] = {
        {6, 0, 1, 1000},
        {9, 0, 1700000000123456789, 1700000000123456789},
        {0, 0, 5, 5000000000},
        {3, 0, 1234, 1234000000},
        {12, 0, 1999, 1},
        {28, 0, UINT64_MAX, 1}, /* 1.8e19 units of 1e-28 s are 1.8 ns */
        {29, 0, UINT64_MAX, 0},
        {127, 0, UINT64_MAX, 0},
        {0x80, 0, 7, 7000000000},
        {0x80 | 10, 0, 1536, 1500000000},
        {0x80 | 32, 0, 0x180000000, 1500000000},
        {0x80 | 63, 0, (uint64_t)1 << 62, 500000000},
        {0x80 | 127, 0, UINT64_MAX, 0},
        {9, 10, 5, 10000000005},
        {6, -1, 1500000, 500000000},
        {9, -1, 999999999, 0},
        {0, 0, UINT64_MAX, UINT64_MAX},
        {9, 1, UINT64_MAX, UINT64_MAX},
        {0x80, INT64_MAX, UINT64_MAX, UINT64_MAX},
        {9, INT64_MIN, UINT64_MAX, 0},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        hand->big_endian = i % 2;
        g_byte_array_set_size(hand->bytes, 0);
        hand_section(hand);
        hand_interface(hand, 1, 0, cases[i].tsresol, cases[i].tsoffset);
        hand_packet(hand, 0, cases[i].units, "x");
        hand_end(hand);
        g_autoptr(PcapngReader) reader = pcapng_reader_new();
        PcapngBlock block;
        size_t offset = next(reader, hand, next(reader, hand, 0, &block), &block);
        next(reader, hand, offset, &block);
        g_test_message("tsresol %u", cases[i].tsresol);
        g_assert_cmpuint(block.packet.time_ns, ==, cases[i].expected_ns);
    }
}

static void test_default_resolution(Handmade *hand, gconstpointer data)
{
    hand_section(hand);
    hand_begin(hand, 1);
    hand_number(hand, 4, 1);
    hand_number(hand, 4, 0);
    hand_end(hand);
    hand_packet(hand, 0, 3, "x");
    hand_end(hand);
    g_autoptr(PcapngReader) reader = pcapng_reader_new();
    PcapngBlock block;
    size_t offset = next(reader, hand, next(reader, hand, 0, &block), &block);
    next(reader, hand, offset, &block);
    g_assert_cmpuint(block.packet.time_ns, ==, 3000);
    g_assert_null(block.options);
}

/* Simple and obsolete packets, statistics, secrets, custom and unknown blocks. */
static void test_other_blocks(Handmade *hand, gconstpointer big_endian)
{
    hand->big_endian = GPOINTER_TO_INT(big_endian);
    hand_section(hand);
    hand_interface(hand, 1, 6, 6, 0);

    hand_begin(hand, 3);
    hand_number(hand, 4, 1000);
    hand_bytes(hand, "abcdef", 6);
    hand_end(hand);

    hand_begin(hand, 2);
    hand_number(hand, 2, 0);
    hand_number(hand, 2, 77); /* drops */
    hand_number(hand, 4, 1);
    hand_number(hand, 4, 2);
    hand_number(hand, 4, 3);
    hand_number(hand, 4, 1500);
    hand_bytes(hand, "xyz", 3);
    hand_option_number(hand, 2, 4, 1);
    hand_end(hand); /* opt_endofopt may be missing */

    hand_begin(hand, 5);
    hand_number(hand, 4, 0);
    hand_number(hand, 4, 0);
    hand_number(hand, 4, 42);
    hand_number(hand, 2, 2); /* isb_starttime: the high half first in either byte order */
    hand_number(hand, 2, 8);
    hand_number(hand, 4, 1);
    hand_number(hand, 4, 2);
    hand_option_number(hand, 5, 8, 9);
    hand_number(hand, 4, 0);
    hand_end(hand);

    hand_begin(hand, 10);
    hand_number(hand, 4, PCAPNG_SECRETS_TLS);
    hand_number(hand, 4, 5);
    hand_bytes(hand, "KEYS\n", 5);
    hand_end(hand);

    hand_begin(hand, 0xBAD);
    hand_number(hand, 4, 32473);
    hand_bytes(hand, "custom", 6);
    hand_end(hand);

    hand_begin(hand, 4);
    hand_number(hand, 4, 0);
    hand_end(hand);
    hand_begin(hand, 0x80001234);
    hand_end(hand);

    g_autoptr(PcapngReader) reader = pcapng_reader_new();
    PcapngBlock block;
    PcapngOption option;
    uint64_t value;
    size_t offset = next(reader, hand, next(reader, hand, 0, &block), &block);

    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_SIMPLE_PACKET);
    g_assert_cmpuint(block.packet.time_ns, ==, 0);
    g_assert_cmpuint(block.packet.original_length, ==, 1000);
    g_assert_cmpmem(block.packet.data, block.packet.captured_length, "abcdef", 6);

    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_OBSOLETE_PACKET);
    g_assert_cmpuint(block.packet.interface_id, ==, 0);
    g_assert_cmpuint(block.packet.time_ns, ==, 4294967298000); /* (2^32 + 2) us */
    g_assert_cmpuint(block.packet.original_length, ==, 1500);
    g_assert_cmpmem(block.packet.data, block.packet.captured_length, "xyz", 3);
    const uint8_t *cursor = block.options;
    g_assert_cmpint(pcapng_option_next(&block, &cursor, &option), ==, 1);
    g_assert_cmpint(pcapng_option_next(&block, &cursor, &option), ==, 0);

    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_STATISTICS);
    g_assert_cmpuint(block.statistics.time_ns, ==, 42000);
    cursor = block.options;
    g_assert_cmpint(pcapng_option_next(&block, &cursor, &option), ==, 1);
    g_assert_cmpuint(option.code, ==, PCAPNG_ISB_STARTTIME);
    g_assert_cmpint(pcapng_option_u64(&block, &option, &value), ==, 0);
    g_assert_cmpuint(value, ==, 0x100000002);
    g_assert_cmpint(pcapng_option_next(&block, &cursor, &option), ==, 1);
    g_assert_cmpint(pcapng_option_u64(&block, &option, &value), ==, 0);
    g_assert_cmpuint(value, ==, 9);

    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.secrets.type, ==, PCAPNG_SECRETS_TLS);
    g_assert_cmpmem(block.secrets.data, block.secrets.length, "KEYS\n", 5);

    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.custom.enterprise, ==, 32473);
    g_assert_cmpmem(block.custom.data, block.custom.length, "custom\0\0", 8);

    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, PCAPNG_NAME_RESOLUTION);
    const uint8_t *start = hand->bytes->data + offset;
    offset = next(reader, hand, offset, &block);
    g_assert_cmpuint(block.type, ==, 0x80001234);
    g_assert_true(block.data == start);
    g_assert_cmpuint(block.length, ==, 12);
    g_assert_cmpuint(offset, ==, hand->bytes->len);
}

static void patch32(Handmade *hand, size_t offset, uint32_t value)
{
    value = hand->big_endian ? GUINT32_TO_BE(value) : GUINT32_TO_LE(value);
    memcpy(hand->bytes->data + offset, &value, sizeof value);
}

/* A section of 28 bytes, an interface of 44, a packet of 36 + 8: the offsets below. */
static void add_good_file(Handmade *hand)
{
    hand_section(hand);
    hand_interface(hand, 1, 0, 9, 0);
    hand_packet(hand, 0, 1, "data");
    hand_option_number(hand, 2, 4, 1);
    hand_end(hand);
    g_assert_cmpuint(hand->bytes->len, ==, 28 + 44 + 44);
}

static void test_lying_lengths(Handmade *hand, gconstpointer big_endian)
{
    static const struct {
        size_t offset;
        uint32_t value;
        int error;
        const char *message;
    } cases[] = {
        {0, 0xA0D0D0A0, -EBADMSG,
         "offset 0: no pcapng file, expected pcapng, which begins with a section header "
         "(0a0d0d0a)"},
        {4, 24, -EBADMSG,
         "offset 20: length 4294967295 at the end of a block, expected 24 as at its beginning"},
        {4, 8, -EBADMSG, "offset 4: block of 8 bytes, expected a multiple of 4 from 12"},
        {4, 29, -EBADMSG, "offset 4: block of 29 bytes, expected a multiple of 4 from 12"},
        {4, 0xFFFFFFFC, -EMSGSIZE,
         "offset 4: block of 4294967292 bytes, expected at most 16777216"},
        {28 + 40, 40, -EBADMSG,
         "offset 68: length 40 at the end of a block, expected 44 as at its beginning"},
        {72 + 8, 1, -EBADMSG,
         "offset 80: enhanced packet block of interface 1, expected one of the 1 described before "
         "it"},
        {72 + 20, 13, -EBADMSG,
         "offset 92: captured length 13, expected at most the 12 bytes in the block"},
        {72 + 20, UINT32_MAX, -EBADMSG,
         "offset 92: captured length 4294967295, expected at most the 12 bytes in the block"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        hand->big_endian = GPOINTER_TO_INT(big_endian);
        add_good_file(hand);
        patch32(hand, cases[i].offset, cases[i].value);
        assert_fails(hand, cases[i].error, cases[i].message);
    }
}

static void test_bad_options(Handmade *hand, gconstpointer big_endian)
{
    hand->big_endian = GPOINTER_TO_INT(big_endian);
    add_good_file(hand);
    uint16_t length = hand->big_endian ? GUINT16_TO_BE(5) : GUINT16_TO_LE(5);
    memcpy(hand->bytes->data + 72 + 34, &length, sizeof length);
    assert_fails(
        hand, -EBADMSG,
        "offset 104: option 2 of the enhanced packet block is 5 bytes long, expected at most the 4 "
        "that are left in the block");

    hand_section(hand);
    hand_begin(hand, 1);
    hand_number(hand, 4, 0);
    hand_number(hand, 4, 0);
    hand_option(hand, 9, "ab", 2);
    hand_end(hand);
    assert_fails(hand, -EBADMSG, "offset 48: if_tsresol is 2 bytes long, expected 1");

    hand_section(hand);
    hand_begin(hand, 1);
    hand_number(hand, 4, 0);
    hand_number(hand, 4, 0);
    hand_option(hand, 14, "abcd", 4);
    hand_end(hand);
    assert_fails(hand, -EBADMSG, "offset 48: if_tsoffset is 4 bytes long, expected 8");
}

/* Every known type, with no body at all. */
static void test_short_blocks(Handmade *hand, gconstpointer data)
{
    static const struct {
        uint32_t type;
        const char *message;
    } cases[] = {
        {1, "offset 76: interface description block of 12 bytes, expected at least 20"},
        {2, "offset 76: packet block of 12 bytes, expected at least 32"},
        {3, "offset 76: simple packet block of 12 bytes, expected at least 16"},
        {5, "offset 76: interface statistics block of 12 bytes, expected at least 24"},
        {6, "offset 76: enhanced packet block of 12 bytes, expected at least 32"},
        {10, "offset 76: decryption secrets block of 12 bytes, expected at least 20"},
        {0xBAD, "offset 76: custom block of 12 bytes, expected at least 16"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        hand_section(hand);
        hand_interface(hand, 1, 0, 9, 0);
        hand_begin(hand, cases[i].type);
        hand_end(hand);
        assert_fails(hand, -EBADMSG, cases[i].message);
    }
}

static void test_lies_of_other_blocks(Handmade *hand, gconstpointer data)
{
    hand_section(hand);
    hand_interface(hand, 1, 0, 9, 0);
    hand_begin(hand, 10);
    hand_number(hand, 4, PCAPNG_SECRETS_TLS);
    hand_number(hand, 4, 0xFFFFFFFD); /* wraps to 0 when it is padded in 32 bits */
    hand_end(hand);
    assert_fails(hand, -EBADMSG,
                 "offset 84: secrets of 4294967293 bytes, expected at most the 0 in the block");

    hand_section(hand);
    hand_interface(hand, 1, 0, 9, 0);
    hand_begin(hand, 3);
    hand_number(hand, 4, 5);
    hand_bytes(hand, "four", 4);
    hand_end(hand);
    assert_fails(hand, -EBADMSG,
                 "offset 80: captured length 5, expected at most the 4 bytes in the block");

    hand_section(hand);
    hand_begin(hand, 3);
    hand_number(hand, 4, 0);
    hand_end(hand);
    assert_fails(
        hand, -EBADMSG,
        "offset 36: simple packet block of interface 0, expected one of the 0 described before it");
}

static void test_not_pcapng(Handmade *hand, gconstpointer data)
{
    hand_number(hand, 4, 0xA1B2C3D4);
    assert_fails(hand, -EBADMSG,
                 "offset 0: a classic pcap file, expected pcapng, which begins with a section "
                 "header (0a0d0d0a)");

    hand_section(hand);
    patch32(hand, 8, 0x01020304);
    assert_fails(hand, -EBADMSG,
                 "offset 8: byte order magic 01020304, expected 1a2b3c4d in either order");

    hand_section(hand);
    patch32(hand, 12, 2);
    assert_fails(hand, -EBADMSG, "offset 12: pcapng version 2.0, expected 1");
}

static void test_interface_limit(Handmade *hand, gconstpointer data)
{
    hand_section(hand);
    for (unsigned i = 0; i < 65537; i++) {
        hand_begin(hand, 1);
        hand_number(hand, 8, 0);
        hand_end(hand);
    }
    assert_fails(hand, -EBADMSG,
                 "offset 1310748: one more interface, expected at most 65536 in a section");
}

static void setup(Handmade *hand, gconstpointer data)
{
    *hand = (Handmade){.bytes = g_byte_array_new()};
}

static void teardown(Handmade *hand, gconstpointer data)
{
    g_byte_array_unref(hand->bytes);
}

static void add(const char *path, gconstpointer data, void (*test)(Handmade *, gconstpointer))
{
    g_test_add(path, Handmade, data, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/pcapng/reader/byte-orders", NULL, test_byte_orders);
    add("/pcapng/reader/pieces", NULL, test_pieces);
    add("/pcapng/reader/times", NULL, test_times);
    add("/pcapng/reader/default-resolution", NULL, test_default_resolution);
    add("/pcapng/reader/other-blocks/little", GINT_TO_POINTER(0), test_other_blocks);
    add("/pcapng/reader/other-blocks/big", GINT_TO_POINTER(1), test_other_blocks);
    add("/pcapng/reader/lying-lengths/little", GINT_TO_POINTER(0), test_lying_lengths);
    add("/pcapng/reader/lying-lengths/big", GINT_TO_POINTER(1), test_lying_lengths);
    add("/pcapng/reader/bad-options/little", GINT_TO_POINTER(0), test_bad_options);
    add("/pcapng/reader/bad-options/big", GINT_TO_POINTER(1), test_bad_options);
    add("/pcapng/reader/short-blocks", NULL, test_short_blocks);
    add("/pcapng/reader/lies-of-other-blocks", NULL, test_lies_of_other_blocks);
    add("/pcapng/reader/not-pcapng", NULL, test_not_pcapng);
    add("/pcapng/reader/interface-limit", NULL, test_interface_limit);
    return g_test_run();
}
