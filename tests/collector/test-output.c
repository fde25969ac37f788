// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/output.h"
#include "common/pcapng/pcapng.h"

#define TIME_NS 1700000000000000000u

static int keep(const uint8_t *bytes, size_t length, void *userdata)
{
    g_byte_array_append(userdata, bytes, (guint)length);
    return 0;
}

static void ignore(CollectorNoteLevel level, const char *text, void *userdata)
{
}

/* The comment and the drop count of the file's only packet. */
static char *only_packet_comment(const GByteArray *file, uint64_t *ret_drops)
{
    PcapngReader *reader = pcapng_reader_new();
    char *comment = NULL;
    PcapngBlock block;
    size_t needed;
    for (size_t at = 0;
         pcapng_reader_next(reader, file->data + at, file->len - at, &block, &needed) == 1;
         at += block.length) {
        const uint8_t *cursor = block.options;
        PcapngOption option;
        while (block.type == PCAPNG_PACKET && pcapng_option_next(&block, &cursor, &option) == 1) {
            if (option.code == PCAPNG_OPT_COMMENT)
                comment = g_strndup((const char *)option.value, option.length);
            else if (option.code == PCAPNG_EPB_DROPCOUNT)
                g_assert_cmpint(pcapng_option_u64(&block, &option, ret_drops), ==, 0);
        }
    }
    pcapng_reader_free(reader);
    return comment;
}

/* What is told of `n` losses of 7 packets each on the packet after them. */
static char *told(unsigned n, const char *text, uint64_t *ret_drops)
{
    static const CollectorSink sink = {.write = keep, .note = ignore};
    static const CapturePoint point = {
        .id = 1, .cluster = "c", .node = "n", .device = "eth0", .target_uid = "", .link_type = 1};
    g_autoptr(GByteArray) file = g_byte_array_new();
    Output *output = output_new(&sink, file);
    uint32_t interface = output_interface(output, &point, 262144, "", "", "");
    for (unsigned i = 0; i < n; i++)
        output_loss(output, interface, OUTPUT_LOST_ELSEWHERE, 7, TIME_NS, text);

    uint8_t block[128];
    static const uint8_t frame[14];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, block, sizeof block);
    pcapng_build_packet(&builder, 0, TIME_NS + 1, frame, sizeof frame, sizeof frame);
    OutputPacket packet = {.block = block,
                           .length = (uint32_t)pcapng_build_end(&builder),
                           .interface = interface,
                           .time_ns = TIME_NS + 1,
                           .options = block};
    g_assert_cmpint(output_packet(output, &packet), ==, 0);
    g_assert_cmpint(output_flush(output), ==, 0);
    output_free(output);
    return only_packet_comment(file, ret_drops);
}

static void test_all_losses_fit(void)
{
    uint64_t drops = 0;
    g_autofree char *comment = told(2, "7 lost on n", &drops);
    g_assert_cmpstr(comment, ==, "7 lost on n; 7 lost on n");
    g_assert_cmpuint(drops, ==, 14);
}

/* A reader who adds up the comment must see that it is not all. */
static void test_more_losses_than_fit(void)
{
    uint64_t drops = 0;
    g_autofree char *comment = told(100, "7 lost on n", &drops);
    g_assert_true(g_str_has_suffix(comment, "7 lost on n; and more"));
    g_assert_null(strstr(comment, "more; "));
    g_assert_cmpuint(drops, ==, 700);
}

/* A node and a link type have one interface, also where the names in the file are the same. */
static void test_interfaces(void)
{
    enum { NODES = 65536 };
    static const CollectorSink sink = {.write = keep, .note = ignore};
    g_autoptr(GByteArray) file = g_byte_array_new();
    Output *output = output_new(&sink, file);
    gint64 start = g_get_monotonic_time();
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < NODES; i++) {
            char node[16];
            g_snprintf(node, sizeof node, "n%u", i);
            CapturePoint point = {.cluster = "", .node = node, .link_type = 1};
            g_assert_cmpuint(output_interface(output, &point, 0, "", "", ""), ==, i);
        }
    }
    /* A linear search takes more than ten times as long. */
    g_assert_cmpint(g_get_monotonic_time() - start, <, 2 * G_USEC_PER_SEC);
    const CapturePoint raw = {.cluster = "", .node = "n0", .link_type = 101};
    const CapturePoint same = {.cluster = "", .node = "n0/raw", .link_type = 1};
    g_assert_cmpuint(output_interface(output, &raw, 0, "", "", ""), ==, NODES);
    g_assert_cmpuint(output_interface(output, &same, 0, "", "", ""), ==, NODES + 1);
    output_free(output);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/output/all-losses-fit", test_all_losses_fit);
    g_test_add_func("/output/more-losses-than-fit", test_more_losses_than_fit);
    g_test_add_func("/output/interfaces", test_interfaces);
    return g_test_run();
}
