// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector-run.h"

#include <glib/gstdio.h>
#include <string.h>

#define PATIENCE_S 20 /* for what must happen; never waited out when it does */

int run_on_write(const uint8_t *bytes, size_t length, void *userdata)
{
    Run *run = userdata;
    g_mutex_lock(&run->lock);
    while (run->blocked)
        g_cond_wait(&run->changed, &run->lock);
    int r = run->write_result;
    if (!r)
        g_byte_array_append(run->out, bytes, (guint)length);
    g_cond_broadcast(&run->changed);
    g_mutex_unlock(&run->lock);
    return r;
}

void run_on_note(CollectorNoteLevel level, const char *text, void *userdata)
{
    Run *run = userdata;
    g_mutex_lock(&run->lock);
    g_string_append_printf(run->notes, "%s\n", text);
    g_cond_broadcast(&run->changed);
    g_mutex_unlock(&run->lock);
}

void run_setup(Run *run, gconstpointer data)
{
    run->folder = g_dir_make_tmp("remora-XXXXXX", NULL);
    for (int i = 0; i < 2; i++) {
        run->paths[i] = g_strdup_printf("%s/node%d", run->folder, i);
        run->endpoints[i] = g_strconcat("unix:", run->paths[i], NULL);
    }
    run->config = (CollectorConfig){
        .endpoints = run->endpoints, .max_wait_ns = FOREVER_NS, .vantage = COLLECTOR_VANTAGE_ONE};
    run->out = g_byte_array_new();
    run->notes = g_string_new(NULL);
    g_mutex_init(&run->lock);
    g_cond_init(&run->changed);
}

void content_clear(Content *content)
{
    g_string_free(content->names, TRUE);
    g_string_free(content->comments, TRUE);
    g_string_free(content->remarks, TRUE);
    g_array_unref(content->numbers);
}

void run_teardown(Run *run, gconstpointer data)
{
    collector_free(run->collector);
    for (int i = 0; i < 2; i++) {
        fake_node_free(run->nodes[i]);
        g_unlink(run->paths[i]);
        g_free(run->paths[i]);
        g_free(run->endpoints[i]);
    }
    g_rmdir(run->folder);
    g_free(run->folder);
    g_byte_array_unref(run->out);
    g_string_free(run->notes, TRUE);
    g_clear_error(&run->error);
    g_mutex_clear(&run->lock);
    g_cond_clear(&run->changed);
}

static gpointer run_thread(gpointer data)
{
    Run *run = data;
    run->result = collector_run(run->collector, &run->error);
    return NULL;
}

void run_start(Run *run)
{
    static const CollectorSink sink = {.write = run_on_write, .note = run_on_note};
    GError *error = NULL;
    run->collector = collector_new(&run->config, &sink, run, &error);
    g_assert_no_error(error);
    run->thread = g_thread_new("collector", run_thread, run);
}

void run_stop(Run *run)
{
    collector_stop(run->collector);
    g_thread_join(run->thread);
}

/* One node alone. */
void run_use_one(Run *run)
{
    g_clear_pointer(&run->endpoints[1], g_free);
}

static void read_packet(Content *ret, const PcapngBlock *block, uint64_t *newest)
{
    uint32_t number = fixture_number(block->packet.data, block->packet.captured_length);
    ret->packets++;
    ret->sorted &= block->packet.time_ns >= *newest;
    *newest = MAX(*newest, block->packet.time_ns);
    g_array_append_val(ret->numbers, number);
    const uint8_t *cursor = block->options;
    PcapngOption option;
    while (pcapng_option_next(block, &cursor, &option) > 0) {
        uint64_t drops;
        if (option.code == PCAPNG_OPT_COMMENT) {
            g_string_append_len(ret->comments, (const char *)option.value, option.length);
            g_string_append_c(ret->comments, '\n');
        } else if (option.code == PCAPNG_EPB_DROPCOUNT &&
                   pcapng_option_u64(block, &option, &drops) == 0) {
            ret->dropcounts++;
            ret->drops += drops;
        }
    }
}

static void read_statistics(Content *ret, const PcapngBlock *block)
{
    const uint8_t *cursor = block->options;
    PcapngOption option;
    uint64_t value;
    ret->statistics++;
    while (pcapng_option_next(block, &cursor, &option) > 0) {
        if (option.code == PCAPNG_OPT_COMMENT) {
            g_string_append_len(ret->remarks, (const char *)option.value, option.length);
            g_string_append_c(ret->remarks, '\n');
        }
        if (option.code == PCAPNG_ISB_IFRECV && pcapng_option_u64(block, &option, &value) == 0)
            ret->received += value;
        if (option.code == PCAPNG_ISB_USRDELIV && pcapng_option_u64(block, &option, &value) == 0)
            ret->delivered += value;
    }
}

static void read_names(Content *ret, const PcapngBlock *block)
{
    const uint8_t *cursor = block->options;
    PcapngOption option;
    ret->interfaces++;
    while (pcapng_option_next(block, &cursor, &option) > 0) {
        if (option.code == PCAPNG_IF_NAME) {
            g_string_append_len(ret->names, (const char *)option.value, option.length);
            g_string_append_c(ret->names, '\n');
        }
    }
}

/* Under the lock. Every write is of whole blocks, so all of it must read well at any time. */
Content run_content(const Run *run)
{
    Content ret = {.sorted = true,
                   .names = g_string_new(NULL),
                   .comments = g_string_new(NULL),
                   .remarks = g_string_new(NULL),
                   .numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t))};
    PcapngReader *reader = pcapng_reader_new();
    size_t at = 0, needed;
    uint64_t newest = 0;
    PcapngBlock block;
    int r;
    while ((r = pcapng_reader_next(reader, run->out->data + at, run->out->len - at, &block,
                                   &needed)) > 0) {
        at += block.length;
        if (block.type == PCAPNG_SECTION)
            ret.sections++;
        else if (block.type == PCAPNG_INTERFACE)
            read_names(&ret, &block);
        else if (block.type == PCAPNG_PACKET)
            read_packet(&ret, &block, &newest);
        else if (block.type == PCAPNG_STATISTICS)
            read_statistics(&ret, &block);
        else if (block.type == PCAPNG_SECRETS) {
            ret.secrets++;
            ret.before_secrets = ret.packets;
        }
    }
    g_assert_cmpint(r, ==, 0);
    g_assert_cmpuint(at, ==, run->out->len);
    pcapng_reader_free(reader);
    return ret;
}

/* Waits for so many packets in the output. */
void run_wait_for_packets(Run *run, unsigned packets)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_mutex_lock(&run->lock);
    for (;;) {
        Content content = run_content(run);
        unsigned have = content.packets;
        content_clear(&content);
        if (have >= packets)
            break;
        g_assert_true(g_cond_wait_until(&run->changed, &run->lock, end));
    }
    g_mutex_unlock(&run->lock);
}

void run_wait_for_note(Run *run, const char *part)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_mutex_lock(&run->lock);
    while (!strstr(run->notes->str, part)) {
        if (!g_cond_wait_until(&run->changed, &run->lock, end))
            g_error("no note of \"%s\" in:\n%s", part, run->notes->str);
    }
    g_mutex_unlock(&run->lock);
}

void run_begin(Run *run, int index, const char *boot_id)
{
    run->nodes[index] = fake_node_new(run->paths[index]);
    fake_node_hello(run->nodes[index], index ? "node-b" : "node-a", boot_id);
    fake_node_pod(run->nodes[index], index ? "pod-b" : "pod-a", index ? "10.2.0.1" : "10.1.0.1");
    fake_node_interface(run->nodes[index], 1, index ? "uid-pod-b" : "uid-pod-a", "eth0");
}

/* Packets to somewhere outside, numbered from `number` on, a millisecond apart, as one message. */
void run_send_packets(Run *run, int index, uint32_t interface_id, uint64_t time_ns, uint32_t number,
                      uint32_t count)
{
    size_t capacity = (size_t)count * 192;
    g_autofree uint8_t *memory = g_malloc(capacity);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, capacity);
    for (uint32_t i = 0; i < count; i++)
        fixture_block(&builder,
                      &(FixturePacket){.src = index ? "10.2.0.1" : "10.1.0.1",
                                       .dst = "93.184.216.34",
                                       .protocol = 17,
                                       .src_port = 40000,
                                       .dst_port = 443,
                                       .number = number + i},
                      interface_id, time_ns + i * MILLI, PCAPNG_DIRECTION_OUTBOUND);
    fake_node_say_packets(run->nodes[index], &builder, count, time_ns + (count - 1) * MILLI);
}
