// SPDX-License-Identifier: GPL-2.0-or-later
/* The queue of one subscriber: order, bounds, and an account of every packet. */
#include "node-capture/server/queue.h"

#include <string.h>

#include "common/pcapng/pcapng.h"
#include "helpers.h"

#define SECOND_NS 1000000000u
#define KERNEL    REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING
#define DROPPED   REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE
#define INVALID   REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID

static NodeInterface *interface_new(uint32_t id, const char *device)
{
    SourceInterface told = {.id = id, .device = device, .link_type = 1};
    return node_interface_new(&told, "uid-cart", "shop/cart");
}

static void give_interface(Queue *queue, uint32_t id, const char *device)
{
    NodeInterface *interface = interface_new(id, device);
    queue_interface(queue, interface);
    node_interface_unref(interface);
}

static void give(Queue *queue, Batch *batch)
{
    queue_packets(queue, batch);
    batch_unref(batch);
}

/* What came out of a queue. */
typedef struct Taken {
    uint64_t packets, lost, messages;
    uint32_t next_number; /* the lowest that may come */
    uint64_t watermark_ns;
} Taken;

static void take_packets(const QueueMessage *message, Taken *taken)
{
    uint32_t count = 0;
    for (size_t i = 0; i < message->n_batches; i++) {
        const Batch *batch = message->batches[i];
        for (size_t offset = 0; offset < batch->length; count++) {
            PcapngPacket packet;
            const uint8_t *options;
            uint32_t options_length, number;
            int length = pcapng_packet_parse(batch->data + offset, batch->length - offset, &packet,
                                             &options, &options_length);
            g_assert_cmpint(length, >, 0);
            memcpy(&number, packet.data + 4, sizeof(number));
            g_assert_cmpuint(number, >=, taken->next_number);
            g_assert_cmpuint(packet.time_ns, >=, taken->watermark_ns);
            taken->next_number = number + 1;
            offset += (size_t)length;
        }
    }
    g_assert_cmpuint(count, ==, message->packets.count);
    g_assert_cmpuint(message->packets.watermark_unix_ns, >=, taken->watermark_ns);
    taken->watermark_ns = message->packets.watermark_unix_ns;
    taken->packets += count;
}

/* Takes what is due; checks order and watermarks. */
static Taken take_all(Queue *queue, uint64_t now_ns, Taken taken)
{
    QueueMessage message;
    for (;;) {
        queue_next(queue, now_ns, &message);
        if (message.type == QUEUE_NOTHING) {
            return taken;
        }
        taken.messages++;
        if (message.type == QUEUE_PACKETS) {
            take_packets(&message, &taken);
        } else if (message.type == QUEUE_LOSS) {
            taken.lost += message.loss.packets;
        } else if (message.type == QUEUE_HEARTBEAT) {
            g_assert_cmpuint(message.packets.watermark_unix_ns, >=, taken.watermark_ns);
            taken.watermark_ns = message.packets.watermark_unix_ns;
        }
        queue_message_clear(&message);
    }
}

static void check_account(const Queue *queue)
{
    QueueStats stats;
    queue_stats(queue, &stats);
    g_assert_cmpuint(stats.offered, ==,
                     stats.sent + stats.filtered + stats.dropped + stats.invalid + stats.waiting);
}

static void next_is(Queue *queue, uint64_t now_ns, QueueMessageType type, QueueMessage *ret)
{
    queue_next(queue, now_ns, ret);
    g_assert_cmpint(ret->type, ==, type);
}

static void test_order(void)
{
    Queue *queue = queue_new(1 << 20, PCAPNG_PACKET_MAX, NULL);
    Entity *pod = test_pod("shop", "cart", NULL);
    queue_identity(queue, pod, 0);
    queue_synced(queue);
    give_interface(queue, 7, "eth0");
    give(queue, test_batch(7, TEST_NS, 0, 10, 100, 0));
    queue_identity(queue, pod, TEST_NS + 5);
    give(queue, test_batch(7, TEST_NS + 100, 10, 5, 100, 0));

    QueueMessage message;
    uint64_t now_ns = SECOND_NS;
    next_is(queue, now_ns, QUEUE_IDENTITY, &message);
    g_assert_true(message.entity == pod);
    g_assert_cmpuint(message.deleted_ns, ==, 0);
    queue_message_clear(&message);
    next_is(queue, now_ns, QUEUE_SYNCED, &message);
    next_is(queue, now_ns, QUEUE_INTERFACE, &message);
    g_assert_cmpuint(message.interface->id, ==, 7);
    queue_message_clear(&message);
    next_is(queue, now_ns, QUEUE_PACKETS, &message);
    g_assert_cmpuint(message.packets.count, ==, 10);
    queue_message_clear(&message);
    next_is(queue, now_ns, QUEUE_IDENTITY, &message);
    g_assert_cmpuint(message.deleted_ns, ==, TEST_NS + 5);
    queue_message_clear(&message);
    /* Packets wait 50 ms from the message before them on, to be joined. */
    next_is(queue, now_ns, QUEUE_NOTHING, &message);
    next_is(queue, now_ns + STREAM_BATCH_NS, QUEUE_PACKETS, &message);
    g_assert_cmpuint(message.packets.count, ==, 5);
    g_assert_cmpuint(message.packets.first_unix_ns, ==, TEST_NS + 100);
    g_assert_cmpuint(message.packets.last_unix_ns, ==, TEST_NS + 104);
    queue_message_clear(&message);
    g_assert_true(queue_is_empty(queue));
    check_account(queue);
    entity_unref(pod);
    queue_free(queue);
}

/* Large batches are shared as they are and joined up to about 256 kB. */
static void test_zero_copy(void)
{
    Queue *queue = queue_new(64 << 20, PCAPNG_PACKET_MAX, NULL);
    Batch *batches[4];
    for (uint32_t i = 0; i < 4; i++) {
        batches[i] = test_batch(1, TEST_NS + i * 1000, i * 80, 80, 1400, 0);
        queue_packets(queue, batches[i]);
    }
    QueueMessage message;
    next_is(queue, SECOND_NS, QUEUE_PACKETS, &message);
    g_assert_cmpuint(message.n_batches, ==, 2); /* 2 * 115 kB */
    g_assert_true(message.batches[0] == batches[0] && message.batches[1] == batches[1]);
    g_assert_cmpuint(message.packets.count, ==, 160);
    g_assert_cmpuint(message.packets.blocks_length, ==, batches[0]->length + batches[1]->length);
    queue_message_clear(&message);
    queue_free(queue);
    for (uint32_t i = 0; i < 4; i++) {
        g_assert_cmpint(batches[i]->refs, ==, 1);
        batch_unref(batches[i]);
    }
}

static void test_overload(void)
{
    const uint64_t limit = 1 << 20;
    Queue *queue = queue_new(limit, PCAPNG_PACKET_MAX, NULL);
    give_interface(queue, 1, "eth0");
    give_interface(queue, 2, "lo");
    uint64_t from[3] = {0}, to[3] = {0}, given[3] = {0};
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t id = 1 + i % 2;
        give(queue, test_batch(id, TEST_NS + i * 1000, i * 80, 80, 1400, 0));
        given[id] += 80;
        from[id] = from[id] ? from[id] : TEST_NS + i * 1000;
        QueueStats stats;
        queue_stats(queue, &stats);
        g_assert_cmpuint(stats.waiting_bytes, <=, limit);
        check_account(queue);
    }
    QueueStats stats;
    queue_stats(queue, &stats);
    g_assert_cmpuint(stats.dropped, >, 0);
    uint64_t dropped_batches = stats.dropped / 80;
    for (uint64_t i = 0; i < dropped_batches; i++) {
        to[1 + i % 2] = TEST_NS + i * 1000 + 79;
    }

    /* The interfaces that the losses name come first; then one loss for each; then the newest
     * packets, without a hole. */
    QueueMessage message;
    for (int i = 0; i < 2; i++) {
        next_is(queue, SECOND_NS, QUEUE_INTERFACE, &message);
        queue_message_clear(&message);
    }
    uint64_t lost = 0;
    for (int i = 0; i < 2; i++) {
        next_is(queue, SECOND_NS, QUEUE_LOSS, &message);
        uint32_t id = message.loss.interface->id;
        g_assert_cmpint(message.loss.stage, ==, DROPPED);
        g_assert_false(message.loss.unknown);
        g_assert_cmpuint(message.loss.packets, ==, (dropped_batches + (id == 1)) / 2 * 80);
        g_assert_cmpuint(message.loss.from_ns, ==, from[id]);
        g_assert_cmpuint(message.loss.to_ns, ==, to[id]);
        lost += message.loss.packets;
        queue_message_clear(&message);
    }
    g_assert_cmpuint(lost, ==, stats.dropped);
    queue_finish(queue);
    Taken taken = take_all(queue, SECOND_NS, (Taken){.next_number = (uint32_t)stats.dropped});
    g_assert_cmpuint(taken.packets + lost, ==, given[1] + given[2]);
    g_assert_cmpuint(taken.next_number, ==, 8000);
    check_account(queue);
    queue_free(queue);
}

/* Losses of the kernel keep their place, and add up when what stood between them is dropped. */
static void test_losses(void)
{
    Queue *queue = queue_new(8 << 20, PCAPNG_PACKET_MAX, NULL);
    NodeInterface *interface = interface_new(1, "eth0");
    queue_interface(queue, interface);
    QueueLoss loss = {.stage = KERNEL,
                      .interface = interface,
                      .packets = 5,
                      .from_ns = TEST_NS,
                      .to_ns = TEST_NS + 1};
    give(queue, test_batch(1, TEST_NS, 0, 80, 1400, 0));
    queue_loss(queue, &loss);
    loss.to_ns = TEST_NS + 9;
    queue_loss(queue, &loss);
    give(queue, test_batch(1, TEST_NS + 1000, 80, 80, 1400, 0));
    loss.unknown = true;
    queue_loss(queue, &loss);

    QueueMessage message;
    next_is(queue, SECOND_NS, QUEUE_INTERFACE, &message);
    queue_message_clear(&message);
    next_is(queue, SECOND_NS, QUEUE_PACKETS, &message);
    g_assert_cmpuint(message.packets.count, ==, 80);
    queue_message_clear(&message);
    queue_drop_all(queue);
    uint64_t kernel = 0, dropped = 0;
    for (int i = 0; i < 2; i++) {
        next_is(queue, SECOND_NS, QUEUE_LOSS, &message);
        if (message.loss.stage == KERNEL) {
            kernel += message.loss.packets;
            g_assert_cmpuint(message.loss.to_ns, ==, TEST_NS + 9);
            g_assert_true(message.loss.unknown);
        } else {
            g_assert_cmpint(message.loss.stage, ==, DROPPED);
            dropped += message.loss.packets;
        }
        queue_message_clear(&message);
    }
    g_assert_cmpuint(kernel, ==, 15);
    g_assert_cmpuint(dropped, ==, 80);
    g_assert_true(queue_is_empty(queue));
    node_interface_unref(interface);
    queue_free(queue);
}

/* A watermark is told only with, or after, all packets that came before it. */
static void test_watermark(void)
{
    Queue *queue = queue_new(64 << 20, PCAPNG_PACKET_MAX, NULL);
    uint64_t now_ns = SECOND_NS;
    Taken taken = take_all(queue, now_ns, (Taken){0});
    g_assert_cmpuint(taken.messages, ==, 1); /* a heartbeat */
    for (uint32_t i = 0; i < 200; i++) {
        /* Small ones are copied together, large ones are shared. */
        give(queue, test_batch(1, TEST_NS + i * 1000, i * 80, 80, i % 3 ? 1400 : 20, 0));
        queue_watermark(queue, TEST_NS + i * 1000 + 80);
        if (i % 7 == 0) {
            now_ns += STREAM_BATCH_NS;
            QueueMessage message;
            next_is(queue, now_ns, QUEUE_PACKETS, &message);
            take_packets(&message, &taken);
            queue_message_clear(&message);
        }
    }
    queue_finish(queue);
    taken = take_all(queue, now_ns, taken);
    g_assert_cmpuint(taken.packets, ==, 200 * 80);
    g_assert_cmpuint(taken.watermark_ns, ==, TEST_NS + 199 * 1000 + 80);
    check_account(queue);
    queue_free(queue);
}

static void test_heartbeat(void)
{
    Queue *queue = queue_new(1 << 20, PCAPNG_PACKET_MAX, NULL);
    QueueMessage message;
    queue_watermark(queue, TEST_NS);
    next_is(queue, SECOND_NS, QUEUE_HEARTBEAT, &message);
    g_assert_cmpuint(message.packets.watermark_unix_ns, ==, TEST_NS);
    g_assert_cmpuint(queue_due_ns(queue), ==, SECOND_NS + QUEUE_HEARTBEAT_NS);
    queue_watermark(queue, TEST_NS + 50);
    next_is(queue, SECOND_NS + QUEUE_HEARTBEAT_NS - 1, QUEUE_NOTHING, &message);
    next_is(queue, SECOND_NS + QUEUE_HEARTBEAT_NS, QUEUE_HEARTBEAT, &message);
    g_assert_cmpuint(message.packets.watermark_unix_ns, ==, TEST_NS + 50);
    queue_free(queue);
}

/* When somebody has to look again, without anything new. */
static void test_due(void)
{
    Queue *queue = queue_new(1 << 20, PCAPNG_PACKET_MAX, NULL);
    QueueMessage message;
    Batch *batch = test_batch(1, TEST_NS, 0, 1, 100, 0);
    queue_packets(queue, batch);
    g_assert_cmpuint(queue_due_ns(queue), ==, 0);
    next_is(queue, SECOND_NS, QUEUE_PACKETS, &message);
    g_assert_cmpuint(queue_due_ns(queue), ==, SECOND_NS + QUEUE_HEARTBEAT_NS);
    queue_message_clear(&message);
    queue_packets(queue, batch);
    g_assert_cmpuint(queue_due_ns(queue), ==, SECOND_NS + STREAM_BATCH_NS);
    next_is(queue, SECOND_NS + STREAM_BATCH_NS - 1, QUEUE_NOTHING, &message);
    queue_synced(queue);
    next_is(queue, SECOND_NS + STREAM_BATCH_NS, QUEUE_PACKETS, &message);
    queue_message_clear(&message);
    g_assert_cmpuint(queue_due_ns(queue), ==, 0);
    next_is(queue, SECOND_NS + STREAM_BATCH_NS, QUEUE_SYNCED, &message);
    queue_packets(queue, batch);
    queue_finish(queue);
    g_assert_cmpuint(queue_due_ns(queue), ==, 0);
    next_is(queue, SECOND_NS + STREAM_BATCH_NS, QUEUE_PACKETS, &message);
    queue_message_clear(&message);
    g_assert_cmpuint(queue_due_ns(queue), ==, UINT64_MAX);
    batch_unref(batch);
    queue_free(queue);
}

static Filter *compile(const char *expression)
{
    g_autoptr(GError) error = NULL;
    Filter *filter = filter_new(expression, &error);
    g_assert_no_error(error);
    return filter;
}

static void test_filter(void)
{
    /* Byte 0 of the packets is their mark. */
    Queue *queue = queue_new(8 << 20, PCAPNG_PACKET_MAX, compile("ether[0] = 1"));
    give_interface(queue, 1, "eth0");
    for (uint32_t i = 0; i < 50; i++) {
        give(queue, test_batch(1, TEST_NS + i * 1000, i * 80, 80, 1400, i % 5 == 0));
    }
    QueueStats stats;
    queue_stats(queue, &stats);
    g_assert_cmpuint(stats.offered, ==, 4000);
    g_assert_cmpuint(stats.filtered, ==, 3200);
    g_assert_cmpuint(stats.waiting, ==, 800);
    queue_finish(queue);
    Taken taken = take_all(queue, SECOND_NS, (Taken){0});
    g_assert_cmpuint(taken.packets, ==, 800);
    check_account(queue);
    queue_free(queue);

    g_autoptr(GError) error = NULL;
    g_assert_null(filter_new("tcp.port == 80", &error));
    g_assert_error(error, FILTER_ERROR, FILTER_ERROR_SYNTAX);
    g_assert_nonnull(strstr(error->message, "syntax error"));
    g_clear_error(&error);
    g_autofree char *too_long = g_strnfill(FILTER_MAX + 1, '(');
    g_assert_null(filter_new(too_long, &error));
    g_assert_error(error, FILTER_ERROR, FILTER_ERROR_LIMIT);

    /* Without an Ethernet header nothing is said of one. */
    Filter *ether = compile("ether host 00:11:22:33:44:55");
    const uint8_t packet[64] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55};
    g_assert_true(filter_accepts(ether, 1, packet, sizeof(packet), sizeof(packet)));
    g_assert_false(filter_accepts(ether, 101, packet, sizeof(packet), sizeof(packet)));
    filter_free(ether);
}

static void test_snap_length(void)
{
    Queue *queue = queue_new(8 << 20, 99, NULL);
    give_interface(queue, 1, "eth0");
    give(queue, test_batch(1, TEST_NS, 0, 80, 1400, 0));
    QueueMessage message;
    next_is(queue, SECOND_NS, QUEUE_INTERFACE, &message);
    queue_message_clear(&message);
    next_is(queue, SECOND_NS, QUEUE_PACKETS, &message);
    g_assert_cmpuint(message.packets.count, ==, 80);
    const Batch *batch = message.batches[0];
    size_t offset = 0;
    for (uint32_t i = 0; i < 80; i++) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length, flags;
        int length = pcapng_packet_parse(batch->data + offset, batch->length - offset, &packet,
                                         &options, &options_length);
        g_assert_cmpint(length, >, 0);
        g_assert_cmpuint(packet.captured_length, ==, 99);
        g_assert_cmpuint(packet.original_length, ==, 1400);
        g_assert_cmpuint(packet.time_ns, ==, TEST_NS + i);
        PcapngBlock view = {
            .type = PCAPNG_PACKET, .options = options, .options_length = options_length};
        PcapngOption option;
        g_assert_cmpint(pcapng_option_next(&view, &options, &option), ==, 1);
        g_assert_cmpuint(option.code, ==, PCAPNG_EPB_FLAGS);
        g_assert_cmpint(pcapng_option_u32(&view, &option, &flags), ==, 0);
        g_assert_cmpuint(flags, ==, PCAPNG_DIRECTION_OUTBOUND);
        offset += (size_t)length;
    }
    g_assert_cmpuint(offset, ==, batch->length);
    queue_message_clear(&message);
    check_account(queue);

    /* What the kernel has cut already is shared. */
    Batch *cut = test_batch(1, TEST_NS, 0, 1000, 60, 0);
    queue_packets(queue, cut);
    next_is(queue, 2 * (uint64_t)SECOND_NS, QUEUE_PACKETS, &message);
    g_assert_true(message.batches[0] == cut);
    queue_message_clear(&message);
    batch_unref(cut);
    queue_free(queue);
}

/* Blocks that break the format are told, those before them are delivered. */
static void test_invalid(void)
{
    Queue *queue = queue_new(8 << 20, PCAPNG_PACKET_MAX, compile("ether[0] = 1"));
    give_interface(queue, 1, "eth0");
    Batch *batch = test_batch(1, TEST_NS, 0, 10, 100, 1);
    batch->data[3 * (batch->length / 10) + 4] ^= 0x40; /* the length of the fourth */
    give(queue, batch);
    queue_finish(queue);
    Taken taken = take_all(queue, SECOND_NS, (Taken){0});
    g_assert_cmpuint(taken.packets, ==, 3);
    g_assert_cmpuint(taken.lost, ==, 7);
    check_account(queue);
    queue_free(queue);
}

static Fact *make_fact(uint32_t client_port)
{
    Remora__V1__Translation translation = REMORA__V1__TRANSLATION__INIT;
    translation.protocol = 6;
    translation.client_port = client_port;
    return fact_translation(&translation);
}

static void give_fact(Queue *queue, uint32_t client_port)
{
    Fact *fact = make_fact(client_port);
    queue_fact(queue, fact);
    fact_unref(fact);
}

/* The next message has those of these client ports, in that order. */
static void take_facts(Queue *queue, uint64_t now_ns, uint32_t first, size_t count)
{
    QueueMessage message;
    next_is(queue, now_ns, QUEUE_FACTS, &message);
    g_assert_cmpuint(message.n_facts, ==, count);
    for (uint32_t i = 0; i < count; i++) {
        const Fact *fact = message.facts[i];
        StreamMessage decoded;
        g_assert_cmpint(stream_message_decode(fact_message(fact), fact->length, &decoded), ==, 0);
        g_assert_cmpint(decoded.type, ==, STREAM_TRANSLATION);
        g_assert_cmpuint(decoded.response->translation->client_port, ==, first + i);
        stream_message_clear(&decoded);
    }
    queue_message_clear(&message);
}

/* The first of a quiet time goes at once; then they are gathered, but not beyond packets or a
 * heartbeat. */
static void test_facts_gathered(void)
{
    Queue *queue = queue_new(1 << 20, PCAPNG_PACKET_MAX, NULL);
    uint64_t now_ns = SECOND_NS;
    QueueMessage message;
    next_is(queue, now_ns, QUEUE_HEARTBEAT, &message);
    give_fact(queue, 1);
    g_assert_cmpuint(queue_due_ns(queue), <=, now_ns);
    take_facts(queue, now_ns, 1, 1);
    give_fact(queue, 2);
    give_fact(queue, 3);
    g_assert_cmpuint(queue_due_ns(queue), ==, now_ns + QUEUE_FACTS_GATHER_NS);
    next_is(queue, now_ns + QUEUE_FACTS_GATHER_NS - 1, QUEUE_NOTHING, &message);
    take_facts(queue, now_ns + QUEUE_FACTS_GATHER_NS, 2, 2);

    now_ns += QUEUE_HEARTBEAT_NS - 1;
    give_fact(queue, 4);
    take_facts(queue, now_ns, 4, 1);
    give_fact(queue, 5);
    g_assert_cmpuint(queue_due_ns(queue), ==, now_ns + 1);
    take_facts(queue, now_ns + 1, 5, 1);
    next_is(queue, now_ns + 1, QUEUE_HEARTBEAT, &message);

    give(queue, test_batch(7, TEST_NS, 0, 10, 100, 0));
    give_fact(queue, 6);
    take_facts(queue, now_ns + 1, 6, 1); /* these packets are due */
    next_is(queue, now_ns + 1, QUEUE_PACKETS, &message);
    queue_message_clear(&message);

    for (uint32_t i = 0; i < QUEUE_FACTS_TOGETHER + 1; i++) {
        give_fact(queue, 7 + i);
    }
    take_facts(queue, now_ns + 1, 7, QUEUE_FACTS_TOGETHER);
    next_is(queue, now_ns + 1, QUEUE_NOTHING, &message);
    queue_facts_apart(queue);
    take_facts(queue, now_ns + 1, 7 + QUEUE_FACTS_TOGETHER, 1);
    queue_free(queue);
}

/* Facts go ahead of packets that wait, but not of what is known at the start. */
static void test_facts(void)
{
    Queue *queue = queue_new(1 << 20, PCAPNG_PACKET_MAX, NULL);
    queue_synced(queue);
    give_interface(queue, 7, "eth0");
    give(queue, test_batch(7, TEST_NS, 0, 10, 100, 0));
    give_fact(queue, 1);
    give(queue, test_batch(7, TEST_NS + 100, 10, 5, 100, 0));
    give_fact(queue, 2);

    QueueMessage message;
    next_is(queue, SECOND_NS, QUEUE_SYNCED, &message);
    next_is(queue, SECOND_NS, QUEUE_INTERFACE, &message);
    queue_message_clear(&message);
    take_facts(queue, SECOND_NS, 1, 2);
    /* They did not part the packets. */
    next_is(queue, SECOND_NS, QUEUE_PACKETS, &message);
    g_assert_cmpuint(message.packets.count, ==, 15);
    queue_message_clear(&message);
    g_assert_true(queue_is_empty(queue));
    give_fact(queue, 3);
    g_assert_false(queue_is_empty(queue));
    queue_drop_all(queue);
    g_assert_true(queue_is_empty(queue));
    queue_free(queue);
}

/* However many facts there are, packets have their turn, and the number of facts is bounded. */
static void test_fact_flood(void)
{
    Queue *queue = queue_new(1 << 20, PCAPNG_PACKET_MAX, NULL);
    Fact *fact = make_fact(1);
    for (uint32_t i = 0; i < QUEUE_FACTS_MAX + 10; i++) {
        queue_fact(queue, fact);
    }
    QueueStats stats;
    queue_stats(queue, &stats);
    g_assert_cmpuint(stats.facts_dropped, ==, 10);
    give(queue, test_batch(7, TEST_NS, 0, 10, 100, 0));
    size_t facts = 0;
    QueueMessage message;
    for (;;) {
        queue_next(queue, SECOND_NS, &message);
        QueueMessageType type = message.type;
        size_t n_facts = message.n_facts;
        queue_message_clear(&message);
        if (type == QUEUE_PACKETS) {
            break;
        }
        g_assert_cmpint(type, ==, QUEUE_FACTS);
        facts += n_facts;
    }
    g_assert_cmpuint(facts, ==, QUEUE_FACTS_RUN);
    next_is(queue, SECOND_NS, QUEUE_FACTS, &message);
    queue_message_clear(&message);
    queue_free(queue);
    g_assert_cmpint(fact->refs, ==, 1);
    fact_unref(fact);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/queue/order", test_order);
    g_test_add_func("/queue/zero-copy", test_zero_copy);
    g_test_add_func("/queue/overload", test_overload);
    g_test_add_func("/queue/losses", test_losses);
    g_test_add_func("/queue/watermark", test_watermark);
    g_test_add_func("/queue/heartbeat", test_heartbeat);
    g_test_add_func("/queue/due", test_due);
    g_test_add_func("/queue/filter", test_filter);
    g_test_add_func("/queue/snap-length", test_snap_length);
    g_test_add_func("/queue/invalid", test_invalid);
    g_test_add_func("/queue/facts", test_facts);
    g_test_add_func("/queue/facts-gathered", test_facts_gathered);
    g_test_add_func("/queue/fact-flood", test_fact_flood);
    return g_test_run();
}
