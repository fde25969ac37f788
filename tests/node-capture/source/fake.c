// SPDX-License-Identifier: GPL-2.0-or-later
/* The fake source tells what it is given, in order, in run(). */
#include "node-capture/source/fake.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "common/clock.h"
#include "common/pcapng/pcapng.h"

static void on_interface(const SourceInterface *interface, void *userdata)
{
    g_string_append_printf(userdata, "interface %u of %u: %s %u%s\n", interface->id,
                           interface->target_id, interface->device, interface->link_type,
                           interface->loopback ? " loopback" : "");
}

static void on_packets(uint32_t target_id, Batch *batch, void *userdata)
{
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    g_assert_cmpint(
        pcapng_packet_parse(batch->data, batch->length, &packet, &options, &options_length), ==,
        batch->length);
    g_string_append_printf(userdata, "packet of %u on %u at %" G_GUINT64_FORMAT " %u/%u: %.*s\n",
                           target_id, packet.interface_id, packet.time_ns, packet.captured_length,
                           packet.original_length, (int)packet.captured_length,
                           (const char *)packet.data);
}

static void on_lost(uint32_t target_id, uint64_t packets, uint64_t from_ns, uint64_t to_ns,
                    bool unknown, void *userdata)
{
    g_string_append_printf(userdata,
                           "lost of %u: %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                           "-%" G_GUINT64_FORMAT "%s\n",
                           target_id, packets, from_ns, to_ns, unknown ? " or more" : "");
}

static void on_watermark(uint64_t unix_ns, void *userdata)
{
    g_string_append_printf(userdata, "watermark %" G_GUINT64_FORMAT "\n", unix_ns);
}

static void on_ended(uint32_t target_id, int error, const char *message, void *userdata)
{
    g_string_append_printf(userdata, "ended %u: %d %s\n", target_id, error, message);
}

static const SourceCallbacks callbacks = {on_interface, on_packets, on_lost, on_watermark,
                                          on_ended};

static void test_tells_in_order(void)
{
    g_autoptr(GString) told = g_string_new(NULL);
    Source *source = source_fake_new(&callbacks, told);
    const CaptureTarget target = {.id = 5, .uid = "u", .label = "a/b", .netns_fd = -1};
    const char *message = NULL;
    g_assert_cmpint(source->ops->add(source, &target, &message), ==, 0);
    char device[] = "eth0";
    source_fake_interface(
        source, &(SourceInterface){.id = 2, .target_id = 5, .device = device, .link_type = 1});
    memset(device, 'x', sizeof device - 1); /* it was copied */
    source_fake_packet(source, 5, 2, 1000, "hello", 5, 9);
    source_fake_lost(source, 5, 17, 1000, 2000, true);
    source_fake_watermark(source, 900);
    source_fake_ended(source, 5, -ENETDOWN, "gone");
    g_assert_cmpstr(told->str, ==, "");
    g_assert_cmpint(source->ops->run(source, 0), ==, 0);
    g_assert_cmpstr(told->str, ==,
                    "interface 2 of 5: eth0 1\n"
                    "packet of 5 on 2 at 1000 5/9: hello\n"
                    "lost of 5: 17 1000-2000 or more\n"
                    "watermark 900\n"
                    "ended 5: -100 gone\n");
    SourceTargetStats stats;
    source->ops->stats(source, 5, &stats);
    g_assert_cmpuint(stats.packets, ==, 1);
    g_assert_cmpuint(stats.bytes, ==, 5);
    g_assert_cmpuint(stats.lost, ==, 17);
    source->ops->free(source);
}

static void test_add(void)
{
    g_autoptr(GString) told = g_string_new(NULL);
    Source *source = source_fake_new(&callbacks, told);
    const CaptureTarget target = {.id = 5, .uid = "u", .label = "a/b", .netns_fd = -1};
    const char *message = NULL;
    source_fake_fail_add(source, -EPERM, "CAP_NET_RAW is missing");
    g_assert_cmpint(source->ops->add(source, &target, &message), ==, -EPERM);
    g_assert_cmpstr(message, ==, "CAP_NET_RAW is missing");
    g_assert_false(source_fake_has_target(source, 5));
    source_fake_fail_add(source, 0, NULL);
    g_assert_cmpint(source->ops->add(source, &target, &message), ==, 0);
    g_assert_true(source_fake_has_target(source, 5));
    g_assert_cmpint(source->ops->add(source, &target, &message), ==, -EEXIST);
    g_assert_cmpuint(source_fake_targets(source), ==, 1);
    Batch *last = batch_new(64);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, last->data, last->capacity);
    pcapng_build_packet(&builder, 2, 7, "bye", 3, 3);
    g_assert_cmpint(pcapng_build_end(&builder), >, 0);
    last->length = builder.length;
    last->count = 1;
    last->bytes = 3;
    source_fake_packets_at_remove(source, 5, last);
    SourceTargetStats stats;
    source->ops->remove(source, 5, &stats);
    g_assert_cmpuint(stats.packets, ==, 1);
    g_assert_cmpuint(source_fake_targets(source), ==, 0);
    g_assert_cmpint(source->ops->set_snap_length(source, 96), ==, 0);
    g_assert_cmpuint(source_fake_snap_length(source), ==, 96);
    g_assert_cmpuint(stats.bytes, ==, 3);
    source_fake_watermark(source, 1); /* not told: the source is freed with it */
    source->ops->free(source);
    g_assert_cmpstr(told->str, ==, "packet of 5 on 2 at 7 3/3: bye\n");
}

static void *push_and_wake(void *data)
{
    Source *source = data;
    source_fake_watermark(source, 42);
    source->ops->wake(source);
    return NULL;
}

static void test_other_thread(void)
{
    g_autoptr(GString) told = g_string_new(NULL);
    Source *source = source_fake_new(&callbacks, told);
    GThread *thread = g_thread_new("pusher", push_and_wake, source);
    g_assert_cmpint(source->ops->run(source, -1), ==, -EINTR);
    g_thread_join(thread);
    g_assert_cmpstr(told->str, ==, "watermark 42\n");
    uint64_t start = clock_monotonic_ns();
    g_assert_cmpint(source->ops->run(source, 30), ==, 0); /* waits that long, woken no more */
    g_assert_cmpuint(clock_monotonic_ns() - start, >=, 30000000u);
    source->ops->free(source);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/source/fake/tells-in-order", test_tells_in_order);
    g_test_add_func("/source/fake/add", test_add);
    g_test_add_func("/source/fake/other-thread", test_other_thread);
    return g_test_run();
}
