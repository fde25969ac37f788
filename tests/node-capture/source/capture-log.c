// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/node-capture/source/capture-log.h"

#include "common/clock.h"
#include "common/pcapng/pcapng.h"
#include "tests/node-capture/source/sender.h"

static void packet_free(void *data)
{
    LoggedPacket *packet = data;
    g_free(packet->data);
    g_free(packet);
}

static void interface_free(void *data)
{
    LoggedInterface *interface = data;
    g_free(interface->device);
    g_free(interface);
}

static void on_interface(const SourceInterface *interface, void *userdata)
{
    CaptureLog *log = userdata;
    g_assert_cmpuint(interface->id, ==, log->interfaces->len);
    LoggedInterface *logged = g_new(LoggedInterface, 1);
    *logged = (LoggedInterface){interface->id, interface->target_id, g_strdup(interface->device),
                                interface->link_type, interface->loopback};
    g_ptr_array_add(log->interfaces, logged);
}

static void log_sequence(CaptureLog *log, const PcapngPacket *packet)
{
    int64_t sequence = sender_sequence(packet->data, packet->captured_length);
    g_assert_cmpint(sequence, >=, 0);
    if (!g_hash_table_add(log->sequences, GSIZE_TO_POINTER((gsize)sequence)))
        log->duplicates++;
}

static uint32_t flags_of(const uint8_t *options, uint32_t length)
{
    const PcapngBlock block = {.options = options, .options_length = length};
    const uint8_t *cursor = options;
    PcapngOption option;
    uint32_t flags = 0;
    while (pcapng_option_next(&block, &cursor, &option) == 1)
        if (option.code == PCAPNG_EPB_FLAGS)
            g_assert_cmpint(pcapng_option_u32(&block, &option, &flags), ==, 0);
    return flags;
}

static void on_packets(uint32_t target_id, Batch *batch, void *userdata)
{
    CaptureLog *log = userdata;
    uint64_t first_ns = UINT64_MAX, last_ns = 0, bytes = 0;
    uint32_t count = 0;
    g_assert_cmpuint(batch->length, <=, batch->capacity);
    for (size_t offset = 0; offset < batch->length; count++) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length;
        int length = pcapng_packet_parse(batch->data + offset, batch->length - offset, &packet,
                                         &options, &options_length);
        g_assert_cmpint(length, >, 0);
        offset += (size_t)length;
        first_ns = MIN(first_ns, packet.time_ns);
        last_ns = MAX(last_ns, packet.time_ns);
        bytes += packet.captured_length;
        g_assert_cmpuint(packet.interface_id, <, log->interfaces->len);
        const LoggedInterface *interface = log->interfaces->pdata[packet.interface_id];
        g_assert_cmpuint(interface->target_id, ==, target_id);
        g_assert_cmpuint(packet.time_ns, >=, log->watermark_ns);
        if (log->count_only) {
            log_sequence(log, &packet);
            continue;
        }
        LoggedPacket *logged = g_new(LoggedPacket, 1);
        *logged = (LoggedPacket){target_id,
                                 packet.interface_id,
                                 packet.time_ns,
                                 packet.captured_length,
                                 packet.original_length,
                                 flags_of(options, options_length),
                                 g_memdup2(packet.data, packet.captured_length)};
        g_ptr_array_add(log->packets, logged);
    }
    g_assert_cmpuint(count, >, 0);
    g_assert_cmpuint(batch->count, ==, count);
    g_assert_cmpuint(batch->bytes, ==, bytes);
    g_assert_cmpuint(batch->first_ns, ==, first_ns);
    g_assert_cmpuint(batch->last_ns, ==, last_ns);
}

static void on_lost(uint32_t target_id, uint64_t packets, uint64_t from_ns, uint64_t to_ns,
                    bool unknown, void *userdata)
{
    CaptureLog *log = userdata;
    g_assert_cmpuint(from_ns, <=, to_ns);
    log->lost += packets;
    log->last_lost_from_ns = from_ns;
    log->last_lost_to_ns = to_ns;
}

static void on_watermark(uint64_t unix_ns, void *userdata)
{
    CaptureLog *log = userdata;
    g_assert_cmpuint(unix_ns, >=, log->watermark_ns);
    log->watermark_ns = unix_ns;
    log->watermarks++;
}

static void on_ended(uint32_t target_id, int error, const char *message, void *userdata)
{
    CaptureLog *log = userdata;
    log->ended++;
}

void capture_log_open(CaptureLog *log, uint64_t ring_budget)
{
    static const SourceCallbacks callbacks = {on_interface, on_packets, on_lost, on_watermark,
                                              on_ended};
    *log = (CaptureLog){
        .interfaces = g_ptr_array_new_with_free_func(interface_free),
        .packets = g_ptr_array_new_with_free_func(packet_free),
        .sequences = g_hash_table_new(NULL, NULL),
    };
    log->source = source_afpacket_new(ring_budget, &callbacks, log);
    g_assert_nonnull(log->source);
}

void capture_log_close(CaptureLog *log)
{
    g_assert_cmpuint(log->ended, ==, 0);
    log->source->ops->free(log->source);
    g_ptr_array_unref(log->interfaces);
    g_ptr_array_unref(log->packets);
    g_hash_table_unref(log->sequences);
}

void capture_log_add(CaptureLog *log, uint32_t target_id, int netns_fd)
{
    const CaptureTarget target = {
        .id = target_id, .uid = "uid", .label = "default/pod", .netns_fd = netns_fd};
    const char *message = NULL;
    int error = log->source->ops->add(log->source, &target, &message);
    if (error)
        g_error("add: %s: %s", message, g_strerror(-error));
}

void capture_log_await_ring(CaptureLog *log, uint32_t target_id, uint64_t bytes)
{
    SourceTargetStats stats = {0};
    while (stats.ring_bytes != bytes) {
        g_assert_cmpint(log->source->ops->run(log->source, 10), ==, 0);
        log->source->ops->stats(log->source, target_id, &stats);
    }
}

void capture_log_settle(CaptureLog *log)
{
    uint64_t now = clock_unix_ns();
    while (log->watermark_ns <= now)
        g_assert_cmpint(log->source->ops->run(log->source, 10), ==, 0);
}

uint64_t capture_log_count(const CaptureLog *log)
{
    return log->count_only ? g_hash_table_size(log->sequences) : log->packets->len;
}

const LoggedPacket *capture_log_packet(const CaptureLog *log, guint index)
{
    g_assert_cmpuint(index, <, log->packets->len);
    return log->packets->pdata[index];
}

const LoggedInterface *capture_log_interface(const CaptureLog *log, const LoggedPacket *packet)
{
    return log->interfaces->pdata[packet->interface_id];
}
