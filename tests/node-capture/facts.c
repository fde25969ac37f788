// SPDX-License-Identifier: GPL-2.0-or-later
/* Facts: one of a key, kept for a while after the end, bounded. */
#include "node-capture/server/facts.h"

#include <glib.h>
#include <string.h>

#include "node-capture/server/fact-feed.h"

#define SECOND_NS 1000000000u

static Fact *translation(uint32_t client_port, uint32_t server_port, uint64_t to_ns)
{
    static uint8_t client[4] = {10, 0, 0, 1}, service[4] = {10, 96, 0, 1},
                   server[4] = {10, 0, 1, 2};
    Remora__V1__Translation message = REMORA__V1__TRANSLATION__INIT;
    message.protocol = 6;
    message.client = (ProtobufCBinaryData){4, client};
    message.client_port = client_port;
    message.service = (ProtobufCBinaryData){4, service};
    message.service_port = 80;
    message.server = (ProtobufCBinaryData){4, server};
    message.server_port = server_port;
    message.from_unix_ns = 5;
    message.to_unix_ns = to_ns;
    return fact_translation(&message);
}

/* protobuf-c has no const strings; it only reads them here. */
static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static Fact *owner(const char *target, const char *process)
{
    Remora__V1__SocketOwner message = REMORA__V1__SOCKET_OWNER__INIT;
    message.target_uid = text(target);
    message.protocol = 17;
    message.local_port = 53;
    message.process = text(process);
    return fact_socket_owner(&message);
}

static bool put(Facts *facts, Fact *fact, uint64_t now_ns)
{
    g_assert_nonnull(fact);
    bool news = facts_put(facts, fact, now_ns);
    fact_unref(fact);
    return news;
}

static void append_ports(Fact *fact, void *text)
{
    StreamMessage message;
    g_assert_cmpint(stream_message_decode(fact_message(fact), fact->length, &message), ==, 0);
    if (message.type == STREAM_TRANSLATION) {
        const Remora__V1__Translation *t = message.response->translation;
        g_string_append_printf(text, "%u>%u ", t->client_port, t->server_port);
    } else {
        g_assert_cmpint(message.type, ==, STREAM_SOCKET_OWNER);
        g_string_append_printf(text, "%s=%s ", message.response->socket_owner->target_uid,
                               message.response->socket_owner->process);
    }
    stream_message_clear(&message);
}

static void are(const Facts *facts, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);
    facts_foreach(facts, append_ports, text);
    g_assert_cmpstr(text->str, ==, expected);
}

static void test_replace(void)
{
    Facts *facts = facts_new(0, 0);
    g_assert_true(put(facts, translation(1000, 8080, 0), 1));
    g_assert_false(put(facts, translation(1000, 8080, 0), 2));
    g_assert_true(put(facts, translation(1000, 8081, 0), 3));
    g_assert_true(put(facts, translation(1001, 8080, 0), 4));
    g_assert_true(put(facts, owner("a", "nginx"), 5));
    g_assert_true(put(facts, owner("b", "nginx"), 6));
    g_assert_true(put(facts, owner("a", "envoy"), 7));
    are(facts, "1000>8081 1001>8080 b=nginx a=envoy ");
    FactsStats stats;
    facts_stats(facts, &stats);
    g_assert_cmpuint(stats.count[FACT_TRANSLATION], ==, 2);
    g_assert_cmpuint(stats.count[FACT_SOCKET_OWNER], ==, 2);
    g_assert_cmpuint(stats.evicted[FACT_TRANSLATION], ==, 0);
    facts_free(facts);
}

static void test_end(void)
{
    Facts *facts = facts_new(0, 0);
    put(facts, translation(1000, 8080, 0), SECOND_NS);
    put(facts, translation(1001, 8080, 0), SECOND_NS);
    g_assert_true(put(facts, translation(1000, 8080, 77), 2 * (uint64_t)SECOND_NS));
    facts_expire(facts, FACTS_KEPT_NS + 2 * (uint64_t)SECOND_NS - 1);
    are(facts, "1000>8080 1001>8080 ");
    facts_expire(facts, FACTS_KEPT_NS + 2 * (uint64_t)SECOND_NS);
    are(facts, "1001>8080 ");
    /* The ports are used again: the end of the first connection no longer counts. */
    put(facts, translation(1001, 8080, 88), 3 * (uint64_t)SECOND_NS);
    put(facts, translation(1001, 8082, 0), 4 * (uint64_t)SECOND_NS);
    facts_expire(facts, UINT64_MAX);
    are(facts, "1001>8082 ");
    facts_free(facts);
}

static void test_limit(void)
{
    Facts *facts = facts_new(3, 0);
    put(facts, owner("a", "nginx"), 1);
    for (uint32_t port = 1; port <= 3; port++) {
        put(facts, translation(port, 8080, 0), 1);
    }
    put(facts, translation(3, 8080, 9), 1);
    put(facts, translation(4, 8080, 0), 1); /* what has ended goes first */
    are(facts, "1>8080 2>8080 4>8080 a=nginx ");
    put(facts, translation(5, 8080, 0), 1);
    are(facts, "2>8080 4>8080 5>8080 a=nginx ");
    FactsStats stats;
    facts_stats(facts, &stats);
    g_assert_cmpuint(stats.evicted[FACT_TRANSLATION], ==, 2);
    g_assert_cmpuint(stats.evicted[FACT_SOCKET_OWNER], ==, 0);
    facts_free(facts);

    facts = facts_new(0, 2000);
    for (uint32_t port = 1; port <= 1000; port++) {
        put(facts, translation(port, 8080, 0), 1);
        facts_stats(facts, &stats);
        g_assert_cmpuint(stats.bytes[FACT_TRANSLATION], <=, 2000);
    }
    g_assert_cmpuint(stats.evicted[FACT_TRANSLATION], ==, 1000 - stats.count[FACT_TRANSLATION]);
    g_assert_cmpuint(stats.count[FACT_TRANSLATION], >, 1);
    facts_free(facts);
}

static void test_too_long(void)
{
    g_autofree char *name = g_strnfill(FACT_BYTES_MAX, 'x');
    g_assert_null(owner("a", name));
    g_assert_null(owner(name, "a"));
}

/* ---- The way in ------------------------------------------------------------------------------*/

static void count_wake(void *count)
{
    g_atomic_int_inc((int *)count);
}

static void *push_many(void *feed)
{
    for (uint32_t port = 1; port <= 10000; port++) {
        fact_feed_push(feed, translation(port, 8080, 0));
    }
    return NULL;
}

static void test_feed(void)
{
    int wakes = 0;
    FactFeed *feed = fact_feed_new(count_wake, &wakes);
    g_autoptr(GPtrArray) streams = g_ptr_array_new();
    FactFeedStats stats;
    GThread *thread = g_thread_new("finder", push_many, feed);
    do {
        fact_feed_run(feed, streams, 1);
        fact_feed_stats(feed, &stats);
    } while (stats.kept.count[FACT_TRANSLATION] < 10000);
    g_thread_join(thread);
    g_assert_cmpint(wakes, ==, 0); /* nobody waits for them */

    for (uint32_t i = 0; i < FACT_FEED_MAX + 5; i++) {
        fact_feed_push(feed, translation(1, 8080, i + 1));
    }
    g_assert_cmpint(wakes, ==, 1);
    fact_feed_run(feed, streams, 2);
    fact_feed_stats(feed, &stats);
    g_assert_cmpuint(stats.lost, ==, 5);
    g_assert_cmpuint(stats.kept.count[FACT_TRANSLATION], ==, 10000);

    Queue *queue = queue_new(1 << 20, 65535, NULL);
    fact_feed_tell_all(feed, queue);
    QueueMessage message;
    size_t told = 0;
    for (queue_next(queue, SECOND_NS, &message); message.type == QUEUE_FACTS;) {
        told += message.n_facts;
        queue_message_clear(&message);
        queue_next(queue, SECOND_NS, &message);
    }
    g_assert_cmpuint(told, ==, 10000);
    queue_free(queue);
    fact_feed_free(feed);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/facts/replace", test_replace);
    g_test_add_func("/facts/end", test_end);
    g_test_add_func("/facts/limit", test_limit);
    g_test_add_func("/facts/too-long", test_too_long);
    g_test_add_func("/facts/feed", test_feed);
    return g_test_run();
}
