// SPDX-License-Identifier: GPL-2.0-or-later
/* The collector against nodes that do as they are told. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "collector/collector.h"
#include "collector/node-stream.h"
#include "fake-node.h"
#include "fixture.h"

#define T0         (1700000000 * SECOND)
#define FOREVER_NS (3600 * SECOND)
#define PATIENCE_S 20 /* for what must happen; never waited out when it does */

typedef struct Run {
    char *folder, *paths[2], *endpoints[3];
    FakeNode *nodes[2];
    CollectorConfig config;
    Collector *collector;
    GThread *thread;
    GError *error;
    bool result;
    GMutex lock;
    GCond changed;
    GByteArray *out;
    GString *notes;
    int write_result;
    bool blocked; /* write() waits */
} Run;

/* What stands in the output, so far as it is whole. */
typedef struct Content {
    unsigned sections, interfaces, packets, secrets, statistics, dropcounts;
    uint64_t drops, received, delivered;
    bool secrets_first, sorted;
    GString *names;    /* of interfaces, a line each */
    GString *comments; /* a line each */
    GArray *numbers;   /* of packets */
} Content;

static int on_write(const uint8_t *bytes, size_t length, void *userdata)
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

static void on_note(CollectorNoteLevel level, const char *text, void *userdata)
{
    Run *run = userdata;
    g_mutex_lock(&run->lock);
    g_string_append_printf(run->notes, "%s\n", text);
    g_cond_broadcast(&run->changed);
    g_mutex_unlock(&run->lock);
}

static void setup(Run *run, gconstpointer data)
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

static void content_clear(Content *content)
{
    g_string_free(content->names, TRUE);
    g_string_free(content->comments, TRUE);
    g_array_unref(content->numbers);
}

static void teardown(Run *run, gconstpointer data)
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

static void start(Run *run)
{
    static const CollectorSink sink = {on_write, on_note};
    GError *error = NULL;
    run->collector = collector_new(&run->config, &sink, run, &error);
    g_assert_no_error(error);
    run->thread = g_thread_new("collector", run_thread, run);
}

static void stop(Run *run)
{
    collector_stop(run->collector);
    g_thread_join(run->thread);
}

/* One node alone. */
static void use_one(Run *run)
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
static Content read_out(const Run *run)
{
    Content ret = {.sorted = true,
                   .names = g_string_new(NULL),
                   .comments = g_string_new(NULL),
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
            ret.secrets_first = ret.packets == 0;
        }
    }
    g_assert_cmpint(r, ==, 0);
    g_assert_cmpuint(at, ==, run->out->len);
    pcapng_reader_free(reader);
    return ret;
}

/* Waits for so many packets in the output. */
static void wait_for_packets(Run *run, unsigned packets)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_mutex_lock(&run->lock);
    for (;;) {
        Content content = read_out(run);
        unsigned have = content.packets;
        content_clear(&content);
        if (have >= packets)
            break;
        g_assert_true(g_cond_wait_until(&run->changed, &run->lock, end));
    }
    g_mutex_unlock(&run->lock);
}

static void wait_for_note(Run *run, const char *part)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_mutex_lock(&run->lock);
    while (!strstr(run->notes->str, part)) {
        if (!g_cond_wait_until(&run->changed, &run->lock, end))
            g_error("no note of \"%s\" in:\n%s", part, run->notes->str);
    }
    g_mutex_unlock(&run->lock);
}

static void begin(Run *run, int index, const char *boot_id)
{
    run->nodes[index] = fake_node_new(run->paths[index]);
    fake_node_hello(run->nodes[index], index ? "node-b" : "node-a", boot_id);
    fake_node_pod(run->nodes[index], index ? "pod-b" : "pod-a", index ? "10.2.0.1" : "10.1.0.1");
    fake_node_interface(run->nodes[index], 1, index ? "uid-pod-b" : "uid-pod-a", "eth0");
}

/* Packets to somewhere outside, numbered from `number` on, a millisecond apart, as one message. */
static void send_packets(Run *run, int index, uint32_t interface_id, uint64_t time_ns,
                         uint32_t number, uint32_t count)
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

/* ---- Tests -----------------------------------------------------------------------------------*/

static void test_two_nodes(Run *run, gconstpointer data)
{
    begin(run, 0, "boot-1");
    begin(run, 1, "boot-1");
    Remora__V1__TlsSecrets secrets = REMORA__V1__TLS_SECRETS__INIT;
    secrets.key_log = (ProtobufCBinaryData){20, (uint8_t *)"CLIENT_RANDOM 00 11\n"};
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_TLS_SECRETS;
    response.tls_secrets = &secrets;
    fake_node_say(run->nodes[1], &response);
    run->config.comments = true;
    start(run);
    send_packets(run, 0, 1, T0, 0, 10);
    send_packets(run, 1, 1, T0 + MILLI / 2, 100, 10);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    wait_for_packets(run, 20);
    stop(run);
    g_assert_true(run->result);
    Content content = read_out(run);
    g_assert_cmpuint(content.sections, ==, 1);
    g_assert_cmpuint(content.interfaces, ==, 2);
    g_assert_nonnull(strstr(content.names->str, "east/node-a\n"));
    g_assert_nonnull(strstr(content.names->str, "east/node-b\n"));
    g_assert_cmpuint(content.packets, ==, 20);
    g_assert_true(content.sorted);
    g_assert_true(content.secrets == 1 && content.secrets_first);
    g_assert_cmpuint(content.statistics, ==, 2);
    g_assert_cmpuint(content.received, ==, 20);
    g_assert_cmpuint(content.delivered, ==, 20);
    g_assert_nonnull(strstr(content.comments->str, "shop/pod-a -> external\n"));
    g_assert_nonnull(strstr(content.comments->str, "shop/pod-b -> external\n"));
    for (guint i = 0; i < 20; i++) /* in turn */
        g_assert_cmpuint(g_array_index(content.numbers, uint32_t, i), ==, i % 2 * 100 + i / 2);
    content_clear(&content);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.packets_received, ==, 20);
    g_assert_cmpuint(stats.packets_written, ==, 20);
    g_assert_cmpuint(stats.bytes_written, ==, run->out->len);
    g_assert_cmpuint(stats.late + stats.unnamed + stats.other_vantage + stats.gaps, ==, 0);
}

static void test_unreachable(Run *run, gconstpointer data)
{
    run->config.connect_timeout_ns = 200 * MILLI;
    start(run);
    g_thread_join(run->thread);
    g_assert_false(run->result);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_nonnull(strstr(run->error->message, run->endpoints[0]));
    g_assert_nonnull(strstr(run->error->message, run->endpoints[1]));
    g_assert_nonnull(strstr(run->error->message, "Is remora-node running"));
    g_assert_cmpuint(run->out->len, ==,
                     0); /* or Wireshark would show an empty capture, not the error */
}

static void test_pauses(void)
{
    g_assert_cmpuint(node_stream_pause(0, 1), ==, 100 * MILLI);
    g_assert_cmpuint(node_stream_pause(0, 0), ==, 50 * MILLI);
    g_assert_cmpuint(node_stream_pause(3, 1), ==, 800 * MILLI);
    for (unsigned attempts = 6; attempts < 100; attempts++) {
        g_assert_cmpuint(node_stream_pause(attempts, 1), ==, 5 * SECOND);
        g_assert_cmpuint(node_stream_pause(attempts, 0), ==, 5 * SECOND / 2);
    }
}

static void test_refused(Run *run, gconstpointer data)
{
    use_one(run);
    run->nodes[0] = fake_node_new(run->paths[0]);
    fake_node_finish(run->nodes[0], -EINVAL, "filter: syntax error near 'prot'", true);
    run->config.connect_timeout_ns = FOREVER_NS; /* it must not wait for that */
    start(run);
    g_thread_join(run->thread);
    g_assert_false(run->result);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_nonnull(strstr(run->error->message, "syntax error near 'prot'"));
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 1);
}

/* Of two nodes that do not work only the refusal is told, as it is what must be corrected. */
static void test_second_refused(Run *run, gconstpointer data)
{
    run->config.connect_timeout_ns = 500 * MILLI;
    run->nodes[1] = fake_node_new(run->paths[1]);
    fake_node_finish(run->nodes[1], -EINVAL, "syntax error in filter", true);
    start(run);
    g_thread_join(run->thread);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_true(g_str_has_prefix(run->error->message, run->endpoints[1]));
}

static void test_no_endpoint(Run *run, gconstpointer data)
{
    static const CollectorSink sink = {on_write, on_note};
    char *none[] = {NULL}, *foreign[] = {(char *)"192.0.2.1:7000", NULL};
    GError *error = NULL;
    run->config.endpoints = none;
    g_assert_null(collector_new(&run->config, &sink, run, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONFIG);
    g_clear_error(&error);
    run->config.endpoints = foreign; /* plain gRPC must be asked for */
    g_assert_null(collector_new(&run->config, &sink, run, &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
}

static void test_restart(Run *run, gconstpointer data)
{
    begin(run, 0, "boot-1");
    begin(run, 1, "boot-1");
    run->config.comments = true;
    start(run);
    send_packets(run, 0, 1, T0, 0, 5);
    send_packets(run, 1, 1, T0, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 10 * SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + 10 * SECOND);
    wait_for_packets(run, 10);

    run->nodes[1] = fake_node_free(run->nodes[1]);
    wait_for_note(run, "Lost the connection to node-b");
    /* The others are not held up, although the waiting time is an hour. */
    send_packets(run, 0, 1, T0 + 11 * SECOND, 5, 5);
    wait_for_packets(run, 15);

    /* The same interface id is another pod now. */
    run->nodes[1] = fake_node_new(run->paths[1]);
    fake_node_hello(run->nodes[1], "node-b", "boot-2");
    fake_node_pod(run->nodes[1], "pod-c", "10.3.0.1");
    fake_node_interface(run->nodes[1], 1, "uid-pod-c", "eth0");
    wait_for_note(run, "node-b is back");
    send_packets(run, 1, 1, T0 + 12 * SECOND, 105, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 20 * SECOND);
    wait_for_packets(run, 20);
    stop(run);
    g_assert_true(run->result);
    g_assert_nonnull(strstr(run->notes->str, "restarted"));
    Content content = read_out(run);
    g_assert_cmpuint(content.packets, ==, 20);
    g_assert_cmpuint(content.interfaces, ==, 2); /* it is the same node */
    g_assert_nonnull(strstr(content.comments->str, "node-b was away"));
    g_assert_nonnull(strstr(content.comments->str, "shop/pod-c -> external"));
    content_clear(&content);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.gaps, ==, 1);
}

static void break_sequence(FakeNode *node)
{
    fake_node_skip_sequence(node);
    fake_node_heartbeat(node, T0);
}

static void break_form(FakeNode *node)
{
    fake_node_say_raw(node, "\xff\xff\xff\xff\xff", 5);
}

static void send_block(FakeNode *node, uint32_t interface_id, size_t cut)
{
    uint8_t memory[256];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    fixture_block(&builder, &(FixturePacket){.src = "10.2.0.1", .dst = "10.2.0.2", .protocol = 17},
                  interface_id, T0, 0);
    builder.length -= cut;
    fake_node_say_packets(node, &builder, 1, T0);
}

static void break_block(FakeNode *node)
{
    send_block(node, 1, 4);
}

static void break_interface(FakeNode *node)
{
    send_block(node, 77, 0);
}

static void break_order(FakeNode *node)
{
    fake_node_hello(node, "node-b", "boot-1");
}

static void break_mapping(FakeNode *node)
{
    fake_node_interface(node, 1, "uid-pod-b", "eth1");
}

static void test_hostile(Run *run, gconstpointer data)
{
    void (*break_it)(FakeNode *) = (void (*)(FakeNode *))data;
    begin(run, 0, "boot-1");
    begin(run, 1, "boot-1");
    start(run);
    wait_for_note(run, "Connected to node-a");
    wait_for_note(run, "Connected to node-b");
    break_it(run->nodes[1]);
    fake_node_forget(run->nodes[1]);
    fake_node_hello(run->nodes[1], "node-b", "boot-1");
    fake_node_interface(run->nodes[1], 1, "uid-pod-b", "eth0");
    wait_for_note(run, "Lost the connection to node-b: it ");
    wait_for_note(run, "node-b is back");
    send_packets(run, 0, 1, T0, 0, 5);
    send_packets(run, 1, 1, T0, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    wait_for_packets(run, 10);
    stop(run);
    g_assert_true(run->result);
    g_assert_null(strstr(run->notes->str, "Lost the connection to node-a"));
}

static void test_silent_node(Run *run, gconstpointer data)
{
    begin(run, 0, "boot-1");
    begin(run, 1, "boot-1");
    run->config.max_wait_ns = 300 * MILLI;
    start(run);
    wait_for_note(run, "Connected to node-b"); /* which says no more */
    send_packets(run, 0, 1, T0, 0, 5);
    wait_for_packets(run, 5);
    /* It speaks at last: late, but not lost. */
    send_packets(run, 1, 1, T0 - SECOND, 100, 5);
    wait_for_packets(run, 10);
    stop(run);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.late, ==, 5);
    g_assert_cmpuint(stats.packets_written, ==, 10);
}

static void say_loss_of(FakeNode *node, const char *name, uint64_t packets,
                        Remora__V1__LossStage stage)
{
    Remora__V1__Loss loss = REMORA__V1__LOSS__INIT;
    loss.node = (char *)name;
    loss.stage = stage;
    loss.packets = packets;
    loss.from_unix_ns = T0 + SECOND;
    loss.to_unix_ns = T0 + 2 * SECOND;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_LOSS;
    response.loss = &loss;
    fake_node_say(node, &response);
}

static void say_loss(FakeNode *node, uint64_t packets, Remora__V1__LossStage stage)
{
    say_loss_of(node, "node-a", packets, stage);
}

/* A node that tells of losses at ever new nodes is heard, but not remembered one by one. */
static void test_losses_of_many(Run *run, gconstpointer data)
{
    use_one(run);
    begin(run, 0, "boot-1");
    start(run);
    wait_for_note(run, "Connected to node-a");
    for (int i = 0; i < 1500; i++) {
        g_autofree char *name = g_strdup_printf("other-%d", i);
        say_loss_of(run->nodes[0], name, 1, REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING);
    }
    fake_node_heartbeat(run->nodes[0], T0);
    wait_for_note(run, "other nodes: ");
    stop(run);
    g_assert_null(strstr(run->notes->str, "other-1400"));
}

static void test_losses_are_told(Run *run, gconstpointer data)
{
    use_one(run);
    begin(run, 0, "boot-1");
    start(run);
    say_loss(run->nodes[0], 30, REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING);
    say_loss(run->nodes[0], 12, REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE);
    send_packets(run, 0, 1, T0, 0, 3); /* before the loss */
    send_packets(run, 0, 1, T0 + 3 * SECOND, 3, 3);
    wait_for_packets(run, 6);
    stop(run);
    Content content = read_out(run);
    g_assert_cmpuint(content.dropcounts, ==, 1);
    g_assert_cmpuint(content.drops, ==, 42);
    g_assert_nonnull(strstr(content.comments->str, "30 packets lost on node-a"));
    g_assert_nonnull(strstr(content.comments->str, "12 packets lost on node-a"));
    g_assert_cmpuint(content.received, ==, 48);
    content_clear(&content);
    g_assert_nonnull(strstr(run->notes->str, "30 packets lost (the capture ring was full)"));
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.lost_ring, ==, 30);
    g_assert_cmpuint(stats.lost_queue, ==, 12);
}

/* One node holds the other back for ever, and its own backlog is over its share: nothing locks up,
 * nothing is lost. */
static void test_memory_limit(Run *run, gconstpointer data)
{
    enum { MESSAGES = 200, EACH = 50 };
    run->config.memory_limit = 64 * 1024;
    begin(run, 0, "boot-1");
    begin(run, 1, "boot-1");
    start(run);
    wait_for_note(run, "Connected to node-a");
    wait_for_note(run, "Connected to node-b");
    fake_node_heartbeat(run->nodes[0], T0);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        send_packets(run, 0, 1, T0 + i * SECOND, i * EACH, EACH);
        /* Far ahead of its own promise: it can neither go out nor be refused. */
        uint8_t memory[256];
        PcapngBuilder builder;
        pcapng_builder_init(&builder, memory, sizeof memory);
        fixture_block(&builder,
                      &(FixturePacket){.src = "10.2.0.1", .dst = "93.184.216.34", .protocol = 17},
                      1, T0 + FOREVER_NS + i, PCAPNG_DIRECTION_OUTBOUND);
        fake_node_say_packets(run->nodes[1], &builder, 1, T0 + 1 + i);
    }
    fake_node_heartbeat(run->nodes[0], T0 + 2 * FOREVER_NS);
    fake_node_heartbeat(run->nodes[1], T0 + 2 * FOREVER_NS);
    wait_for_packets(run, MESSAGES * EACH + MESSAGES);
    stop(run);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.packets_written, ==, MESSAGES * EACH + MESSAGES);
    g_assert_cmpuint(stats.lost_collector, ==, 0);
}

/* Whoever reads the output stands still for longer than a node may be silent: no node is to blame,
 * not even one whose message came in the meantime. */
static void test_reader_pauses(Run *run, gconstpointer data)
{
    begin(run, 0, "boot-1");
    begin(run, 1, "boot-1");
    start(run);
    wait_for_note(run, "Connected to node-a");
    wait_for_note(run, "Connected to node-b");
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    g_usleep(200 * 1000); /* for it to be taken, and the next message to be asked for */
    g_mutex_lock(&run->lock);
    run->blocked = true;
    g_mutex_unlock(&run->lock);
    send_packets(run, 0, 1, T0, 0, 5);
    g_usleep(200 * 1000); /* for the write to begin */
    fake_node_heartbeat(run->nodes[1], T0 + 2 * SECOND);
    g_usleep(10500 * 1000);
    g_mutex_lock(&run->lock);
    run->blocked = false;
    g_cond_broadcast(&run->changed);
    g_mutex_unlock(&run->lock);
    wait_for_packets(run, 5);
    send_packets(run, 1, 1, T0 + 3 * SECOND, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 4 * SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + 4 * SECOND);
    wait_for_packets(run, 10);
    stop(run);
    g_assert_null(strstr(run->notes->str, "Lost the connection"));
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.gaps, ==, 0);
}

static void test_reader_gone(Run *run, gconstpointer data)
{
    use_one(run);
    begin(run, 0, "boot-1");
    run->write_result = -EPIPE;
    start(run);
    g_thread_join(run->thread);
    g_assert_true(run->result);
    g_assert_no_error(run->error);
}

static void test_disk_full(Run *run, gconstpointer data)
{
    use_one(run);
    begin(run, 0, "boot-1");
    start(run);
    wait_for_note(run, "Connected to node-a");
    g_mutex_lock(&run->lock);
    run->write_result = -ENOSPC;
    g_mutex_unlock(&run->lock);
    send_packets(run, 0, 1, T0, 0, 3);
    g_thread_join(run->thread);
    g_assert_false(run->result);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_WRITE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, DATA, FUNCTION) \
    g_test_add("/collector/" PATH, Run, (gconstpointer)(DATA), setup, FUNCTION, teardown)
    g_test_add_func("/collector/pauses", test_pauses);
    ADD("two-nodes", NULL, test_two_nodes);
    ADD("unreachable", NULL, test_unreachable);
    ADD("refused", NULL, test_refused);
    ADD("second-refused", NULL, test_second_refused);
    ADD("no-endpoint", NULL, test_no_endpoint);
    ADD("restart", NULL, test_restart);
    ADD("hostile/sequence", break_sequence, test_hostile);
    ADD("hostile/form", break_form, test_hostile);
    ADD("hostile/block", break_block, test_hostile);
    ADD("hostile/interface", break_interface, test_hostile);
    ADD("hostile/order", break_order, test_hostile);
    ADD("hostile/mapping", break_mapping, test_hostile);
    ADD("silent-node", NULL, test_silent_node);
    ADD("losses", NULL, test_losses_are_told);
    ADD("losses-of-many", NULL, test_losses_of_many);
    ADD("memory-limit", NULL, test_memory_limit);
    ADD("reader-pauses", NULL, test_reader_pauses);
    ADD("reader-gone", NULL, test_reader_gone);
    ADD("disk-full", NULL, test_disk_full);
    return g_test_run();
}
