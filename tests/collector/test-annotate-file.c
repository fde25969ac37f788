// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/pcapng/bytes.h"
#include "fixture.h"

#define T0 (1700000000 * SECOND)

typedef struct Files {
    char *folder, *in, *out;
    Inventory *inventory;
} Files;

static void setup(Files *files, gconstpointer data)
{
    files->folder = g_dir_make_tmp("remora-XXXXXX", NULL);
    files->in = g_build_filename(files->folder, "in", NULL);
    files->out = g_build_filename(files->folder, "out", NULL);
    files->inventory = inventory_new();
    fixture_pod(files->inventory, "client", "10.1.0.1", 0);
    fixture_pod(files->inventory, "server", "10.2.0.1", 0);
}

static void teardown(Files *files, gconstpointer data)
{
    g_unlink(files->in);
    g_unlink(files->out);
    g_rmdir(files->folder);
    g_free(files->folder);
    g_free(files->in);
    g_free(files->out);
    inventory_free(files->inventory);
}

static const FixturePacket request = {.src = "10.1.0.1",
                                      .dst = "10.2.0.1",
                                      .protocol = 6,
                                      .src_port = 40000,
                                      .dst_port = 80,
                                      .number = 7};

static void put32(GByteArray *out, uint32_t value, bool big)
{
    value = big ? GUINT32_TO_BE(value) : GUINT32_TO_LE(value);
    g_byte_array_append(out, (const uint8_t *)&value, 4);
}

static GByteArray *classic(bool big, bool nanoseconds, unsigned packets)
{
    GByteArray *out = g_byte_array_new();
    put32(out, nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, big);
    put32(out, big ? 0x00020004 : 0x00040002, big);
    put32(out, 0, big);
    put32(out, 0, big);
    put32(out, 65535, big);
    put32(out, 1, big);
    uint8_t frame[FIXTURE_PACKET_MAX];
    uint32_t length = (uint32_t)fixture_frame(&request, frame);
    for (unsigned i = 0; i < packets; i++) {
        put32(out, 1700000000, big);
        put32(out, nanoseconds ? 5000 : 5, big);
        put32(out, length, big);
        put32(out, length + 100, big);
        g_byte_array_append(out, frame, length);
    }
    return out;
}

static bool run(const Files *files, const uint8_t *bytes, size_t length, uint64_t *packets,
                uint64_t *named, GError **error)
{
    g_assert_true(g_file_set_contents(files->in, (const char *)bytes, (gssize)length, NULL));
    CollectorAnnotateStats stats = {0};
    bool ok = collector_annotate_file(files->in, files->out, files->inventory, "east", false,
                                      &stats, error);
    *packets = stats.packets;
    *named = stats.named;
    return ok;
}

typedef struct Content {
    unsigned packets, identities, flags, others, sections;
    uint64_t time_ns;
    uint32_t original_length, number;
    int fcs_bits; /* -1: not told */
} Content;

static Content read_out(const Files *files)
{
    Content ret = {.fcs_bits = -1};
    g_autofree char *bytes = NULL;
    gsize length, at = 0, needed;
    g_assert_true(g_file_get_contents(files->out, &bytes, &length, NULL));
    PcapngReader *reader = pcapng_reader_new();
    PcapngBlock block;
    int r;
    while ((r = pcapng_reader_next(reader, (uint8_t *)bytes + at, length - at, &block, &needed)) >
           0) {
        at += block.length;
        ret.sections += block.type == PCAPNG_SECTION;
        ret.others += block.type != PCAPNG_SECTION && block.type != PCAPNG_INTERFACE &&
                      block.type != PCAPNG_PACKET;
        const uint8_t *at_interface = block.options;
        PcapngOption fcs;
        while (block.type == PCAPNG_INTERFACE &&
               pcapng_option_next(&block, &at_interface, &fcs) > 0)
            if (fcs.code == PCAPNG_IF_FCSLEN && fcs.length == 1)
                ret.fcs_bits = fcs.value[0];
        if (block.type != PCAPNG_PACKET)
            continue;
        ret.packets++;
        ret.time_ns = block.packet.time_ns;
        ret.original_length = block.packet.original_length;
        ret.number = fixture_number(block.packet.data, block.packet.captured_length);
        const uint8_t *cursor = block.options;
        PcapngOption option;
        while (pcapng_option_next(&block, &cursor, &option) > 0) {
            ret.flags += option.code == PCAPNG_EPB_FLAGS;
            if (option.code == PCAPNG_OPT_CUSTOM_BINARY)
                ret.identities += load32(option.value, block.swapped) == 32473 &&
                                  memcmp(option.value + 4, "RM", 2) == 0;
        }
    }
    g_assert_cmpint(r, ==, 0);
    g_assert_cmpuint(at, ==, length);
    pcapng_reader_free(reader);
    return ret;
}

static void test_classic(Files *files, gconstpointer data)
{
    for (int form = 0; form < 4; form++) {
        g_autoptr(GByteArray) in = classic(form & 1, form & 2, 3);
        uint64_t packets, named;
        GError *error = NULL;
        g_assert_true(run(files, in->data, in->len, &packets, &named, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(packets, ==, 3);
        g_assert_cmpuint(named, ==, 3);
        Content content = read_out(files);
        g_assert_cmpuint(content.packets, ==, 3);
        g_assert_cmpuint(content.identities, ==, 3);
        g_assert_cmpuint(content.time_ns, ==, T0 + 5000);
        g_assert_cmpuint(content.number, ==, 7);
        g_assert_cmpuint(content.original_length, >, 100);
    }
}

/* With a frame check sequence of four bytes, and without one. */
static void test_link_type_bits(Files *files, gconstpointer data)
{
    static const uint32_t forms[] = {0x24000001, 0x04000001, 0xf0000001, 1};
    static const int bits[] = {32, 0, -1, -1};
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autoptr(GByteArray) in = classic(false, false, 1);
        store32(in->data + 20, forms[i]);
        uint64_t packets, named;
        GError *error = NULL;
        g_assert_true(run(files, in->data, in->len, &packets, &named, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(named, ==, 1);
        g_assert_cmpint(read_out(files).fcs_bits, ==, bits[i]);
    }
}

/* Statistics of an interface that was never described are counted and copied. */
static void test_stray_statistics(Files *files, gconstpointer data)
{
    uint8_t memory[2048];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    pcapng_build_section(&builder);
    pcapng_build_end(&builder);
    pcapng_build_interface(&builder, 1, 0);
    pcapng_build_end(&builder);
    pcapng_build_statistics(&builder, 7, T0);
    pcapng_build_end(&builder);
    fixture_block(&builder, &request, 0, T0, PCAPNG_DIRECTION_OUTBOUND);
    CollectorAnnotateStats stats;
    GError *error = NULL;
    g_assert_true(g_file_set_contents(files->in, (char *)memory, (gssize)builder.length, NULL));
    g_assert_true(collector_annotate_file(files->in, files->out, files->inventory, NULL, false,
                                          &stats, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(stats.stray_statistics, ==, 1);
    Content content = read_out(files);
    g_assert_cmpuint(content.packets, ==, 1);
    g_assert_cmpuint(content.others, ==, 1);
}

static size_t build_pcapng(uint8_t *memory, size_t capacity)
{
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, capacity);
    pcapng_build_section(&builder);
    pcapng_build_end(&builder);
    pcapng_build_interface(&builder, 1, 0);
    pcapng_build_end(&builder);
    pcapng_build_secrets(&builder, PCAPNG_SECRETS_TLS, "CLIENT_RANDOM 00 11\n", 20);
    pcapng_build_end(&builder);
    fixture_block(&builder, &request, 0, T0, PCAPNG_DIRECTION_OUTBOUND);
    pcapng_build_statistics(&builder, 0, T0);
    pcapng_build_end(&builder);
    return builder.length;
}

static void test_pcapng(Files *files, gconstpointer data)
{
    uint8_t memory[2048];
    size_t length = build_pcapng(memory, sizeof memory);
    uint64_t packets, named;
    GError *error = NULL;
    g_assert_true(run(files, memory, length, &packets, &named, &error));
    g_assert_no_error(error);
    Content content = read_out(files);
    g_assert_cmpuint(content.sections, ==, 1);
    g_assert_cmpuint(content.packets, ==, 1);
    g_assert_cmpuint(content.identities, ==, 1);
    g_assert_cmpuint(content.flags, ==, 1);
    g_assert_cmpuint(content.others, ==, 2);
    g_assert_cmpuint(content.time_ns, ==, T0);
}

/* A big endian section of microseconds, with a length that no longer holds. */
static void test_big_endian(Files *files, gconstpointer data)
{
    uint8_t frame[FIXTURE_PACKET_MAX];
    uint32_t length = (uint32_t)fixture_frame(&request, frame), padded = (length + 3) / 4 * 4;
    uint64_t time_us = T0 / 1000;
    g_autoptr(GByteArray) in = g_byte_array_new();
    const uint32_t words[] = {0x0a0d0d0a,
                              28,
                              0x1a2b3c4d,
                              0x00010000,
                              0,
                              20 + 32 + padded,
                              28,
                              1,
                              20,
                              0x00010000,
                              65535,
                              20,
                              6,
                              32 + padded,
                              0,
                              (uint32_t)(time_us >> 32),
                              (uint32_t)time_us,
                              length,
                              length};
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        put32(in, words[i], true);
    g_byte_array_append(in, frame, padded);
    put32(in, 32 + padded, true);
    uint64_t packets, named;
    GError *error = NULL;
    g_assert_true(run(files, in->data, in->len, &packets, &named, &error));
    g_assert_no_error(error);
    Content content = read_out(files);
    g_assert_cmpuint(content.packets, ==, 1);
    g_assert_cmpuint(content.identities, ==, 1);
    g_assert_cmpuint(content.time_ns, ==, T0);
    g_autofree char *out = NULL;
    g_assert_true(g_file_get_contents(files->out, &out, NULL, NULL));
    g_assert_cmpmem(out + 16, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
}

/* Cut at every byte: what is whole before the cut is written, and the error says where. */
static void test_torn(Files *files, gconstpointer data)
{
    g_autoptr(GByteArray) in = classic(false, false, 2);
    size_t record = (in->len - 24) / 2;
    for (size_t cut = 0; cut < in->len; cut++) {
        uint64_t packets = 0, named = 0;
        GError *error = NULL;
        bool whole = cut >= 24 && (cut - 24) % record == 0;
        g_assert_cmpint(run(files, in->data, cut, &packets, &named, &error), ==, whole);
        g_assert_cmpuint(packets, ==, cut < 24 ? 0 : (cut - 24) / record);
        if (!whole) {
            g_autofree char *offset =
                g_strdup_printf("offset %zu:", cut < 24 ? 0 : 24 + (cut - 24) / record * record);
            g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
            g_assert_nonnull(strstr(error->message, offset));
        }
        g_clear_error(&error);
        if (cut >= 24)
            g_assert_cmpuint(read_out(files).packets, ==, packets);
    }
    uint8_t memory[2048];
    size_t length = build_pcapng(memory, sizeof memory);
    uint64_t packets, named;
    GError *error = NULL;
    g_assert_false(run(files, memory, length - 8, &packets, &named, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
    g_assert_nonnull(strstr(error->message, "offset"));
    g_clear_error(&error);
    g_assert_cmpuint(read_out(files).packets, ==, 1);
}

static void test_refusals(Files *files, gconstpointer data)
{
    uint64_t packets, named;
    GError *error = NULL;
    g_assert_false(run(files, (const uint8_t *)"no capture at all", 17, &packets, &named, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
    g_assert_nonnull(strstr(error->message, "neither pcap nor pcapng"));
    g_clear_error(&error);

    g_autoptr(GByteArray) in = classic(false, false, 1);
    in->data[24 + 11] = 0xff; /* a packet of 4 GB */
    g_assert_false(run(files, in->data, in->len, &packets, &named, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
    g_assert_nonnull(strstr(error->message, "offset 24:"));
    g_clear_error(&error);

    /* Its own input as output would be lost. */
    g_assert_true(g_file_set_contents(files->in, (char *)in->data, in->len, NULL));
    CollectorAnnotateStats stats;
    g_assert_false(collector_annotate_file(files->in, files->in, files->inventory, NULL, false,
                                           &stats, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
    g_clear_error(&error);
    g_autofree char *still = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(files->in, &still, &length, NULL));
    g_assert_cmpmem(still, length, in->data, in->len);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, FUNCTION) \
    g_test_add("/annotate-file/" PATH, Files, NULL, setup, FUNCTION, teardown)
    ADD("classic", test_classic);
    ADD("link-type-bits", test_link_type_bits);
    ADD("stray-statistics", test_stray_statistics);
    ADD("pcapng", test_pcapng);
    ADD("big-endian", test_big_endian);
    ADD("torn", test_torn);
    ADD("refusals", test_refusals);
    return g_test_run();
}
