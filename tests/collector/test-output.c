// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

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

static uint32_t add_interface(Output *output, const char *node, uint16_t link_type)
{
    const CapturePoint point = {.cluster = "", .node = node, .link_type = link_type};
    return output_interface(output, &point, 0, "", "", "");
}

/* A node and a link type have one interface, also where the names in the file are the same. */
static void test_interfaces(void)
{
    static const CollectorSink sink = {.write = keep, .note = ignore};
    g_autoptr(GByteArray) file = g_byte_array_new();
    Output *output = output_new(&sink, file);
    for (int round = 0; round < 2; round++) {
        g_assert_cmpuint(add_interface(output, "n0", 1), ==, 0);
        g_assert_cmpuint(add_interface(output, "n1", 1), ==, 1);
        g_assert_cmpuint(add_interface(output, "n0", 101), ==, 2);
        g_assert_cmpuint(add_interface(output, "n0/raw", 1), ==, 3);
    }
    output_free(output);
}

/* Names of the same g_str_hash, as a hostile node may choose them: "ab" and "bA" have the same one.
 */
static void colliding_name(uint32_t i, char out[33])
{
    for (unsigned bit = 0; bit < 16; bit++)
        memcpy(out + 2 * bit, i >> bit & 1 ? "ab" : "bA", 2);
    out[32] = 0;
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    g_assert_cmpint(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), ==, 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What `count` interfaces cost, each named twice: best of three. */
static uint64_t cost_ns(uint32_t count)
{
    static const CollectorSink sink = {.write = keep, .note = ignore};
    uint64_t best_ns = UINT64_MAX;
    for (int attempt = 0; attempt < 3; attempt++) {
        g_autoptr(GByteArray) file = g_byte_array_new();
        Output *output = output_new(&sink, file);
        uint64_t start_ns = thread_cpu_ns();
        for (int round = 0; round < 2; round++) {
            for (uint32_t i = 0; i < count; i++) {
                char name[33];
                colliding_name(i, name);
                g_assert_cmpuint(add_interface(output, name, 1), ==, i);
            }
        }
        best_ns = MIN(best_ns, thread_cpu_ns() - start_ns);
        output_free(output);
    }
    return best_ns;
}

/* Eight times as many cost about eight times as much; in a list, or all of them in one place of a
 * table, 64 times as much. */
static void test_many_interfaces(void)
{
    uint64_t few_ns = cost_ns(2048), many_ns = cost_ns(16384);
    g_test_message("2048: %.1f ms, 16384: %.1f ms", (double)few_ns / 1e6, (double)many_ns / 1e6);
    g_assert_cmpuint(many_ns, <, 24 * few_ns);
}

/* ---- Pieces ----------------------------------------------------------------------------------*/

#define PACKETS 2000u

static int keep_pieces(const CollectorBytes *pieces, size_t n_pieces, void *userdata)
{
    for (size_t i = 0; i < n_pieces; i++)
        g_byte_array_append(userdata, pieces[i].data, (guint)pieces[i].length);
    return 0;
}

static int fail_pieces(const CollectorBytes *pieces, size_t n_pieces, void *userdata)
{
    return -ENOSPC;
}

static void count_released(void *released)
{
    ++*(unsigned *)released;
}

/* A message with one packet, of a length that differs from one to the next. */
static MergeBuffer *one_packet(unsigned number, unsigned *released)
{
    uint8_t block[4096], frame[2000];
    memset(frame, (int)number, sizeof frame);
    uint32_t length = 14 + number * 37 % 1900;
    PcapngBuilder builder;
    pcapng_builder_init(&builder, block, sizeof block);
    pcapng_build_packet(&builder, 5, TIME_NS + number, frame, length, length);
    if (number % 3)
        pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, PCAPNG_DIRECTION_INBOUND);
    g_assert_cmpint(pcapng_build_end(&builder), >, 0);
    MergeBuffer *buffer = merge_buffer_new(block, builder.length);
    buffer->context = released;
    buffer->release = count_released;
    return buffer;
}

/* Returns what the last write returned. */
static int write_packets(const CollectorSink *sink, GByteArray *file, unsigned *released)
{
    static const CapturePoint point = {
        .id = 1, .cluster = "c", .node = "n", .device = "eth0", .target_uid = "", .link_type = 1};
    static const uint8_t comment[] = {1, 0, 5, 0, 'h', 'e', 'l', 'l', 'o', 0, 0, 0};
    Output *output = output_new(sink, file);
    uint32_t interface = output_interface(output, &point, 262144, "", "", "");
    int r = 0;
    for (unsigned i = 0; i < PACKETS && r == 0; i++) {
        if (i == PACKETS / 2)
            output_loss(output, interface, OUTPUT_LOST_ELSEWHERE, 7, TIME_NS, "7 lost on n");
        MergeBuffer *buffer = one_packet(i, released);
        OutputPacket packet = {.block = buffer->data,
                               .length = (uint32_t)buffer->length,
                               .buffer = buffer,
                               .interface = interface,
                               .time_ns = TIME_NS + i,
                               .options = comment,
                               .options_length = i % 2 ? sizeof comment : 0};
        r = output_packet(output, &packet);
        merge_buffer_unref(buffer);
    }
    r = r ? r : output_flush(output);
    if (r == 0) {
        g_assert_cmpuint(*released, ==, PACKETS);
        g_assert_cmpuint(output_bytes(output), ==, file->len);
    }
    output_free(output);
    return r;
}

/* The bytes are the same, whether the packets were copied or not. */
static void test_pieces(void)
{
    static const CollectorSink whole = {.write = keep, .note = ignore};
    static const CollectorSink pieces = {
        .write = keep, .write_pieces = keep_pieces, .note = ignore};
    g_autoptr(GByteArray) expected = g_byte_array_new(), file = g_byte_array_new();
    unsigned released = 0;
    g_assert_cmpint(write_packets(&whole, expected, &released), ==, 0);
    released = 0;
    g_assert_cmpint(write_packets(&pieces, file, &released), ==, 0);
    g_assert_cmpmem(file->data, file->len, expected->data, expected->len);
}

static void test_pieces_cannot_be_written(void)
{
    static const CollectorSink full = {.write = keep, .write_pieces = fail_pieces, .note = ignore};
    g_autoptr(GByteArray) file = g_byte_array_new();
    unsigned released = 0;
    g_assert_cmpint(write_packets(&full, file, &released), ==, -ENOSPC);
    g_assert_cmpuint(released, >, 0); /* all of them: or the sanitizer tells of a leak */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/output/all-losses-fit", test_all_losses_fit);
    g_test_add_func("/output/more-losses-than-fit", test_more_losses_than_fit);
    g_test_add_func("/output/interfaces", test_interfaces);
    g_test_add_func("/output/many-interfaces", test_many_interfaces);
    g_test_add_func("/output/pieces", test_pieces);
    g_test_add_func("/output/pieces-cannot-be-written", test_pieces_cannot_be_written);
    return g_test_run();
}
