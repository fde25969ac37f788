// SPDX-License-Identifier: GPL-2.0-or-later
/* Plaintext made into packets: what Wireshark makes of them is another test's (plugin-plaintext).
 * Here: bounds, and that any bytes in any order of calls are safe. */
#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/pcapng/pcapng.h"
#include "node-capture/tls/plaintext-flow.h"
#include "node-capture/tls/plaintext-protocol.h"
#include "node-capture/tls/tcp-packet.h"

typedef struct Made {
    unsigned batches, packets, syns, fins;
    size_t bytes; /* of payload */
    size_t largest;
} Made;

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Every block must be whole, and every packet as long as its headers say. */
static void take(Batch *batch, void *userdata)
{
    Made *made = userdata;
    size_t at = 0;
    g_assert_cmpuint(batch->length, <=, batch->capacity);
    g_assert_cmpuint(batch->capacity, <=, BATCH_BYTES);
    for (uint32_t i = 0; i < batch->count; i++) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length;
        int length = pcapng_packet_parse(batch->data + at, batch->length - at, &packet, &options,
                                         &options_length);
        g_assert_cmpint(length, >, 0);
        g_assert_cmpuint(packet.time_ns, >=, batch->first_ns);
        g_assert_cmpuint(packet.time_ns, <=, batch->last_ns);
        bool is_v6 = packet.data[0] >> 4 == 6;
        size_t ip = is_v6 ? 40 : 20;
        size_t told = is_v6 ? ip + (get32(packet.data + 4) >> 16) : get32(packet.data) & 0xffff;
        g_assert_cmpuint(told, ==, packet.captured_length);
        const uint8_t *tcp = packet.data + ip;
        made->syns += (tcp[13] & TCP_SYN) != 0;
        made->fins += (tcp[13] & TCP_FIN) != 0;
        made->bytes += packet.captured_length - ip - (size_t)(tcp[12] >> 4) * 4;
        made->largest = MAX(made->largest, packet.captured_length);
        at += (size_t)length;
    }
    g_assert_cmpuint(at, ==, batch->length);
    made->packets += batch->count;
    made->batches++;
    batch_unref(batch);
}

static TlsPlaintext chunk(uint64_t connection, const void *data, size_t length)
{
    return (TlsPlaintext){.connection = connection,
                          .netns_inode = 1,
                          .time_unix_ns = 1000,
                          .direction = TLS_WRITTEN,
                          .family = AF_INET,
                          .local = {{10, 0, 0, 1}, (uint16_t)connection},
                          .remote = {{10, 0, 0, 2}, 443},
                          .from_start = true,
                          .data = data,
                          .length = length};
}

static void end(PlaintextFlow *flow, uint64_t connection, Made *made)
{
    PlaintextHole hole;
    TlsPlaintext last = chunk(connection, NULL, 0);
    last.end = true;
    plaintext_flow_add(flow, &last, take, made, &hole);
}

static void test_large(void)
{
    PlaintextFlow *flow = plaintext_flow_new(0);
    Made made = {0};
    PlaintextHole hole;
    const size_t length = 10 * 1000 * 1000 + 1;
    g_autofree uint8_t *data = g_malloc0(length);
    TlsPlaintext large = chunk(1, data, length);
    plaintext_flow_add(flow, &large, take, &made, &hole);
    end(flow, 1, &made);
    g_assert_cmpuint(made.bytes, ==, length);
    g_assert_cmpuint(made.syns, ==, 2);
    g_assert_cmpuint(made.fins, ==, 2);
    g_assert_cmpuint(made.largest, ==, TCP_PACKET_DATA_MAX + 40);
    g_assert_cmpuint(made.batches, >, 1);
    g_assert_cmpuint(hole.bytes, ==, 0);
    plaintext_flow_free(flow);
}

static void test_bounded(void)
{
    enum { KEPT = 100 };
    PlaintextFlow *flow = plaintext_flow_new(KEPT);
    PlaintextFlowStats stats;
    PlaintextHole hole;
    Made made = {0};
    for (uint64_t i = 1; i <= 3 * KEPT; i++) {
        TlsPlaintext one = chunk(i, "x", 1);
        plaintext_flow_add(flow, &one, take, &made, &hole);
    }
    plaintext_flow_stats(flow, &stats);
    g_assert_cmpuint(stats.connections, ==, KEPT);
    g_assert_cmpuint(stats.forgotten, ==, 2 * KEPT);
    /* One that was forgotten goes on, and nothing is said to be missing. */
    Made before = made;
    TlsPlaintext more = chunk(1, "y", 1);
    more.offset = 1;
    plaintext_flow_add(flow, &more, take, &made, &hole);
    g_assert_cmpuint(made.packets, ==, before.packets + 1);
    g_assert_cmpuint(hole.bytes, ==, 0);
    for (uint64_t i = 1; i <= 3 * KEPT; i++) {
        end(flow, i, &made);
    }
    plaintext_flow_stats(flow, &stats);
    g_assert_cmpuint(stats.connections, ==, 0);
    plaintext_flow_free(flow);
}

static void test_hole(void)
{
    PlaintextFlow *flow = plaintext_flow_new(0);
    PlaintextHole hole;
    Made made = {0};
    TlsPlaintext one = chunk(1, "abc", 3);
    plaintext_flow_add(flow, &one, take, &made, &hole);
    g_assert_cmpuint(hole.bytes, ==, 0);
    one.offset = 10;
    one.time_unix_ns = 2000;
    plaintext_flow_add(flow, &one, take, &made, &hole);
    g_assert_cmpuint(hole.bytes, ==, 7);
    g_assert_cmpuint(hole.from_ns, ==, 1001);
    g_assert_cmpuint(hole.to_ns, ==, 2000);
    /* What was before the hook was not lost. */
    one = chunk(2, "abc", 3);
    one.from_start = false;
    one.offset = 10;
    plaintext_flow_add(flow, &one, take, &made, &hole);
    g_assert_cmpuint(hole.bytes, ==, 0);
    g_assert_cmpuint(made.syns, ==, 2);
    plaintext_flow_free(flow);
}

/* What nobody wanted was not lost, at the beginning or later, and what follows it is no beginning.
 */
static void test_skipped(void)
{
    PlaintextFlow *flow = plaintext_flow_new(0);
    PlaintextFlowStats stats;
    PlaintextHole hole;
    Made made = {0};
    TlsPlaintext one = chunk(1, "abc", 3);
    one.skipped = true;
    for (one.offset = 10; one.offset <= 110; one.offset += 100) {
        plaintext_flow_add(flow, &one, take, &made, &hole);
        g_assert_cmpuint(hole.bytes, ==, 0);
    }
    g_assert_cmpuint(made.syns, ==, 0);
    g_assert_cmpuint(made.packets, ==, 2);
    one.skipped = false;
    one.offset = 120;
    plaintext_flow_add(flow, &one, take, &made, &hole);
    g_assert_cmpuint(hole.bytes, ==, 7);
    plaintext_flow_stats(flow, &stats);
    g_assert_cmpuint(stats.missing, ==, 7);
    plaintext_flow_free(flow);
}

/* Both ends of a connection are in one network namespace. */
static void test_other_end(void)
{
    PlaintextFlow *flow = plaintext_flow_new(0);
    PlaintextFlowStats stats;
    PlaintextHole hole;
    Made made = {0};
    TlsPlaintext client = chunk(1, "abc", 3), server = chunk(2, "abc", 3);
    server.direction = TLS_READ;
    server.is_server = true;
    server.local = client.remote;
    server.remote = client.local;
    plaintext_flow_add(flow, &client, take, &made, &hole);
    plaintext_flow_add(flow, &server, take, &made, &hole);
    g_assert_cmpuint(made.bytes, ==, 3);
    /* In another namespace it is another connection. */
    server.connection = 3;
    server.netns_inode = 2;
    plaintext_flow_add(flow, &server, take, &made, &hole);
    g_assert_cmpuint(made.bytes, ==, 6);
    /* And so it is long after the first has fallen silent. */
    server.connection = 4;
    server.netns_inode = 1;
    server.time_unix_ns += PLAINTEXT_OTHER_END_NS;
    plaintext_flow_add(flow, &server, take, &made, &hole);
    g_assert_cmpuint(made.bytes, ==, 9);
    plaintext_flow_stats(flow, &stats);
    g_assert_cmpuint(stats.other_end, ==, 3);
    plaintext_flow_free(flow);
}

static void test_hostile(void)
{
    PlaintextFlow *flow = plaintext_flow_new(8);
    PlaintextHole hole;
    Made made = {0};
    static uint8_t data[70000];
    for (unsigned i = 0; i < 5000; i++) {
        for (unsigned j = 0; j < 16; j++) {
            data[j] = (uint8_t)g_test_rand_int();
        }
        TlsPlaintext any = chunk((uint64_t)g_test_rand_int_range(0, 16), data,
                                 g_test_rand_bit() ? (size_t)g_test_rand_int_range(0, 64)
                                                   : (size_t)g_test_rand_int_range(0, 70000));
        any.direction = (TlsDirection)g_test_rand_int_range(0, 3);
        any.time_unix_ns = (uint64_t)g_test_rand_int() << (g_test_rand_bit() ? 32 : 0);
        any.offset = g_test_rand_bit() ? UINT64_MAX - (uint64_t)g_test_rand_int_range(0, 100000)
                                       : (uint64_t)g_test_rand_int_range(0, 100000);
        any.family = (uint8_t[]){0, AF_INET, AF_INET6, 77}[g_test_rand_int_range(0, 4)];
        any.from_start = g_test_rand_bit();
        any.is_server = g_test_rand_bit();
        any.end = g_test_rand_int_range(0, 20) == 0;
        any.local.port = (uint16_t)g_test_rand_int_range(0, 4);
        any.remote.port = (uint16_t)g_test_rand_int_range(0, 4);
        any.netns_inode = (uint64_t)g_test_rand_int_range(0, 3);
        plaintext_flow_add(flow, &any, take, &made, &hole);
    }
    g_assert_cmpuint(made.packets, >, 0);
    plaintext_flow_free(flow);
}

static void test_protocols(void)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *name;
    } first[] = {
#define FIRST(bytes, name) {bytes, sizeof(bytes) - 1, name}
        FIRST("GET / HTTP/1.1\r\n", "http"),
        FIRST("HTTP/1.1 200 OK\r\n", "http"),
        FIRST("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        FIRST("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64", "http2"), /* SETTINGS */
        FIRST("*1\r\n$4\r\nPING\r\n", "redis"),
        FIRST("\0\0\0\x13\0\3\0\0user\0x\0\0\0\0\0", "postgresql"),
        FIRST("AMQP\0\0\x09\1", "amqp"),
        FIRST("\x30\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0", "ldap"), /* a simple bind */
        FIRST("\x10\x0e\0\4MQTT\4\2\0\x3c\0\2id", "mqtt"),
        FIRST("\x10\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0", "mongodb"),
        FIRST("\0\0\0\x0c\0\x12\0\3\0\0\0\1\0\2id", "kafka"),
        FIRST("hello", NULL),
        FIRST("\x16\3\1\2\0\1\0\1\xfc\3\3", NULL), /* TLS within TLS */
        FIRST("\0", NULL),
    };
    for (size_t i = 0; i < G_N_ELEMENTS(first); i++) {
        /* Where they end in memory is where they end: no byte behind is looked at. */
        g_autofree uint8_t *bytes = g_memdup2(first[i].bytes, first[i].length);
        const char *name = plaintext_protocol(bytes, first[i].length, true);
        g_assert_cmpstr(name, ==, first[i].name);
        for (size_t length = 0; length < first[i].length; length++) {
            g_autofree uint8_t *part = g_memdup2(first[i].bytes, length);
            plaintext_protocol(part, length, true);
            plaintext_protocol(part, length, false);
        }
    }
    g_assert_cmpstr(plaintext_protocol((const uint8_t *)"\0\0\2\0\1\0\0\0\3ab", 11, false), ==,
                    "http2"); /* a DATA frame */
    g_assert_null(plaintext_protocol((const uint8_t *)"\0\0\2\0\1\0\0\0\3abc", 12, false));
    g_assert_null(plaintext_protocol((const uint8_t *)"AMQP\0\0\x09\1", 8, false));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plaintext/large", test_large);
    g_test_add_func("/plaintext/bounded", test_bounded);
    g_test_add_func("/plaintext/hole", test_hole);
    g_test_add_func("/plaintext/skipped", test_skipped);
    g_test_add_func("/plaintext/other-end", test_other_end);
    g_test_add_func("/plaintext/hostile", test_hostile);
    g_test_add_func("/plaintext/protocols", test_protocols);
    return g_test_run();
}
