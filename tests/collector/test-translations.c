// SPDX-License-Identifier: GPL-2.0-or-later
/* Legs of rewritten connections, by address and time. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "collector/translations.h"
#include "fixture.h"

#define T0 (1000 * SECOND)

typedef struct World {
    NodeQuota *quota;
    Translations *translations;
} World;

static void world_open(World *world)
{
    world->quota = node_quota_new(0, 0, 0);
    world->translations = translations_new();
}

static void world_close(World *world)
{
    translations_free(world->translations);
    node_quota_free(world->quota);
}

static FlowEnd end(const char *address, uint16_t port)
{
    FlowEnd ret = {.port = port};
    g_assert_true(ip_address_from_text(&ret.address, address));
    return ret;
}

/* From CLIENT:40000 to 10.96.0.1:80, answered by SERVER:8080, which sees MASKED. */
static void add(World *world, const char *client, const char *server, const char *masked,
                uint64_t from_ns, uint64_t to_ns)
{
    const Translation translation = {6,
                                     end(client, 40000),
                                     end("10.96.0.1", 80),
                                     end(masked, 40000),
                                     end(server, 8080),
                                     from_ns,
                                     to_ns};
    g_assert_cmpint(translations_add(world->translations, world->quota, &translation), ==, 0);
}

/* The server of the flow, and its id; 0 if there is none. */
static uint64_t find(const World *world, const char *a, uint16_t a_port, const char *b,
                     uint16_t b_port, uint64_t time_ns, char server[46])
{
    FlowEnd ends[2] = {end(a, a_port), end(b, b_port)};
    Flow flow, back;
    bool found = translations_find(world->translations, 6, &ends[0], &ends[1], time_ns, &flow);
    g_assert_cmpint(translations_find(world->translations, 6, &ends[1], &ends[0], time_ns, &back),
                    ==, found);
    if (!found)
        return 0;
    g_assert_cmpuint(flow.id, ==, back.id);
    g_assert_cmpuint(flow.id, !=, 0);
    ip_address_format(&flow.server.address, server);
    return flow.id;
}

static void test_both_legs(void)
{
    World world;
    world_open(&world);
    char server[46];
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, T0, server), ==, 0);
    add(&world, "10.1.0.1", "10.2.0.1", "10.0.0.9", T0, 0);
    add(&world, "10.1.0.2", "10.2.0.2", "10.1.0.2", T0, 0);
    uint64_t id = find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, T0, server);
    g_assert_cmpuint(id, !=, 0);
    g_assert_cmpstr(server, ==, "10.2.0.1");
    g_assert_cmpuint(find(&world, "10.0.0.9", 40000, "10.2.0.1", 8080, T0, server), ==, id);
    uint64_t other = find(&world, "10.2.0.2", 8080, "10.1.0.2", 40000, T0, server);
    g_assert_cmpuint(other, !=, 0);
    g_assert_cmpuint(other, !=, id);
    /* Not what the addresses of one leg with the ports of the other would be. */
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.2.0.1", 8080, T0, server), ==, 0);
    FlowEnd a = end("10.1.0.1", 40000), b = end("10.96.0.1", 80);
    Flow flow;
    g_assert_false(translations_find(world.translations, 17, &a, &b, T0, &flow));
    world_close(&world);
}

/* The same ports used again: each packet belongs to the connection of its time. */
static void test_times(void)
{
    World world;
    world_open(&world);
    add(&world, "10.1.0.1", "10.2.0.2", "10.1.0.1", T0 + 100 * SECOND, 0); /* told first */
    add(&world, "10.1.0.1", "10.2.0.1", "10.1.0.1", T0, T0 + 50 * SECOND);
    const struct {
        uint64_t time_ns;
        const char *server;
    } steps[] = {
        {T0 - TRANSLATION_SLACK_NS - 1, NULL},
        {T0 - TRANSLATION_SLACK_NS, "10.2.0.1"},
        {T0 + 50 * SECOND, "10.2.0.1"},
        {T0 + 50 * SECOND + TRANSLATION_SLACK_NS, "10.2.0.1"},
        {T0 + 50 * SECOND + TRANSLATION_SLACK_NS + 1, NULL},
        {T0 + 100 * SECOND - TRANSLATION_LATE_NS, "10.2.0.2"},
        {T0 + 5000 * SECOND, "10.2.0.2"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        char server[46];
        uint64_t id = find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, steps[i].time_ns, server);
        g_assert_cmpstr(id ? server : NULL, ==, steps[i].server);
    }
    /* The end is told later, of the same one. */
    add(&world, "10.1.0.1", "10.2.0.2", "10.1.0.1", T0 + 100 * SECOND, T0 + 200 * SECOND);
    g_assert_cmpuint(translations_count(world.translations), ==, 2);
    translations_forget(world.translations, T0 + 50 * SECOND);
    g_assert_cmpuint(translations_count(world.translations), ==, 2);
    translations_forget(world.translations, T0 + 50 * SECOND + 1);
    g_assert_cmpuint(translations_count(world.translations), ==, 1);
    char server[46];
    g_assert_cmpuint(find(&world, "10.2.0.1", 8080, "10.1.0.1", 40000, T0, server), ==, 0);
    g_assert_cmpuint(find(&world, "10.2.0.2", 8080, "10.1.0.1", 40000, T0 + 150 * SECOND, server),
                     !=, 0);
    world_close(&world);
}

/* From a pod, masqueraded on its node, through a node port of another to a pod there. */
static void test_chain(void)
{
    World world;
    world_open(&world);
    const Translation first = {6,
                               end("10.1.0.1", 40000),
                               end("10.0.0.2", 30080),
                               end("10.0.0.1", 50000),
                               end("10.0.0.2", 30080),
                               T0,
                               0};
    const Translation second = {6,
                                end("10.0.0.1", 50000),
                                end("10.0.0.2", 30080),
                                end("10.2.0.254", 60000),
                                end("10.2.0.1", 8080),
                                T0,
                                0};
    NodeQuota *other = node_quota_new(0, 0, 0);
    translations_add(world.translations, world.quota, &second);
    translations_add(world.translations, other, &first);
    char server[46];
    uint64_t id = find(&world, "10.1.0.1", 40000, "10.0.0.2", 30080, T0, server);
    g_assert_cmpuint(id, !=, 0);
    g_assert_cmpstr(server, ==, "10.2.0.1");
    g_assert_cmpuint(find(&world, "10.0.0.1", 50000, "10.0.0.2", 30080, T0, server), ==, id);
    g_assert_cmpuint(find(&world, "10.2.0.254", 60000, "10.2.0.1", 8080, T0, server), ==, id);
    world_close(&world);
    node_quota_free(other);

    /* A ring ends as well. */
    world_open(&world);
    const Translation there = {
        6, end("10.0.0.1", 1), end("10.0.0.2", 1), end("10.0.0.3", 1), end("10.0.0.4", 1), T0, 0};
    const Translation back = {
        6, end("10.0.0.3", 1), end("10.0.0.4", 1), end("10.0.0.1", 1), end("10.0.0.2", 1), T0, 0};
    other = node_quota_new(0, 0, 0);
    translations_add(world.translations, world.quota, &there);
    translations_add(world.translations, other, &back);
    g_assert_cmpuint(find(&world, "10.0.0.1", 1, "10.0.0.2", 1, T0, server), !=, 0);
    world_close(&world);
    node_quota_free(other);
}

/* A client calls a service, and then from the same port the pod behind it: the kernel gives the
 * second connection another port, as the first lingers. They are no chain. */
static void test_port_taken(void)
{
    World world;
    world_open(&world);
    const FlowEnd client = end("10.1.0.1", 40000), pod = end("10.2.0.1", 8080);
    const Translation service = {6, client, end("10.96.0.1", 80), client, pod, T0, 0};
    const Translation direct = {6, client, pod, end("10.1.0.1", 61000), pod, T0 + 2 * SECOND, 0};
    translations_add(world.translations, world.quota, &service);
    translations_add(world.translations, world.quota, &direct);
    char server[46];
    uint64_t first = find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, T0, server);
    uint64_t second = find(&world, "10.1.0.1", 61000, "10.2.0.1", 8080, T0 + 2 * SECOND, server);
    g_assert_cmpuint(first, !=, 0);
    g_assert_cmpuint(second, !=, 0);
    g_assert_cmpuint(first, !=, second);
    /* The leg that both have is whose time it is. */
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.2.0.1", 8080, T0, server), ==, first);
    g_assert_cmpuint(find(&world, "10.2.0.1", 8080, "10.1.0.1", 40000, T0 + SECOND, server), ==,
                     first);
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.2.0.1", 8080, T0 + 3 * SECOND, server), ==,
                     second);
    world_close(&world);
}

/* The node is gone: nobody will tell the ends. */
static void test_node_gone(void)
{
    World world;
    world_open(&world);
    NodeQuota *other = node_quota_new(0, 0, 0);
    add(&world, "10.1.0.1", "10.2.0.1", "10.1.0.1", 0, 0);
    const Translation others = {6,
                                end("10.3.0.1", 40000),
                                end("10.96.0.1", 80),
                                end("10.3.0.1", 40000),
                                end("10.2.0.1", 8080),
                                0,
                                0};
    translations_add(world.translations, other, &others);
    translations_end(world.translations, world.quota, T0);
    char server[46];
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, T0, server), !=, 0);
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, T0 + 60 * SECOND, server), ==,
                     0);
    g_assert_cmpuint(find(&world, "10.3.0.1", 40000, "10.96.0.1", 80, T0 + 60 * SECOND, server), !=,
                     0);
    /* It is back. */
    add(&world, "10.1.0.1", "10.2.0.1", "10.1.0.1", 0, 0);
    g_assert_cmpuint(find(&world, "10.1.0.1", 40000, "10.96.0.1", 80, T0 + 60 * SECOND, server), !=,
                     0);
    g_assert_cmpuint(translations_count(world.translations), ==, 2);
    world_close(&world);
    node_quota_free(other);
}

/* A node that lies takes no more than its quota, and costs no more than a few steps a look-up. */
static void test_bounds(void)
{
    World world;
    world_open(&world);
    for (uint64_t i = 0; i < 1000; i++)
        add(&world, "10.1.0.1", "10.2.0.1", "10.1.0.1", T0 + i, 0);
    g_assert_cmpuint(translations_count(world.translations), ==, TRANSLATION_VERSIONS);
    Translation translation = {
        6, end("10.1.0.1", 0), end("10.96.0.1", 80), end("10.1.0.1", 0), end("10.2.0.1", 8080), T0,
        1};
    translation.to_ns = T0 + 1;
    translation.service.port = 81; /* other legs than those above */
    translation.server.port = 8081;
    size_t kept = 0;
    int r = 0;
    for (uint32_t i = 0; i < NODE_QUOTA_FACTS + 10 && !r; i++) {
        translation.client.port = (uint16_t)i;
        translation.client.address.bytes[13] = (uint8_t)(i >> 16);
        translation.masked_client = translation.client;
        r = translations_add(world.translations, world.quota, &translation);
        kept += r == 0;
    }
    g_assert_cmpint(r, ==, -ENOBUFS);
    g_assert_cmpuint(kept, ==, NODE_QUOTA_FACTS - TRANSLATION_VERSIONS);
    translations_forget(world.translations, T0 + 2);
    g_assert_cmpuint(translations_count(world.translations), ==, TRANSLATION_VERSIONS);
    g_assert_cmpint(translations_add(world.translations, world.quota, &translation), ==, 0);
    world_close(&world);
}

/* ---- Messages --------------------------------------------------------------------------------*/

static void test_hostile_messages(void)
{
    uint8_t v4[4] = {10, 0, 0, 1}, other[4] = {10, 0, 0, 2}, v6[16] = {0xfd};
    Remora__V1__Translation good = REMORA__V1__TRANSLATION__INIT, bad;
    good.protocol = 6;
    good.client = (ProtobufCBinaryData){4, v4};
    good.service = (ProtobufCBinaryData){16, v6};
    good.server = (ProtobufCBinaryData){4, other};
    Translation read;
    g_assert_cmpint(translation_from_message(&good, &read), ==, 0);
    g_assert_true(ip_address_equal(&read.client.address, &read.masked_client.address));
#define REFUSED(CHANGE)                                                       \
    do {                                                                      \
        bad = good;                                                           \
        CHANGE;                                                               \
        g_assert_cmpint(translation_from_message(&bad, &read), ==, -EBADMSG); \
    } while (0)
    REFUSED(bad.protocol = 1);
    REFUSED(bad.protocol = 6 + 256);
    REFUSED(bad.client.len = 3);
    REFUSED(bad.client.len = 0);
    REFUSED(bad.service.len = 15);
    REFUSED(bad.masked_client = ((ProtobufCBinaryData){5, v6}));
    REFUSED(bad.server_port = 65536);
    REFUSED(bad.client_port = UINT32_MAX);
    REFUSED(bad.masked_client = good.client; bad.masked_client_port = 70000);
    REFUSED(bad.from_unix_ns = 2; bad.to_unix_ns = 1);
    REFUSED(bad.service = good.server);                                  /* nothing is rewritten */
    REFUSED(bad.server = good.client; bad.masked_client = good.service); /* nor here */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/translations/both-legs", test_both_legs);
    g_test_add_func("/translations/times", test_times);
    g_test_add_func("/translations/chain", test_chain);
    g_test_add_func("/translations/port-taken", test_port_taken);
    g_test_add_func("/translations/node-gone", test_node_gone);
    g_test_add_func("/translations/bounds", test_bounds);
    g_test_add_func("/translations/hostile-messages", test_hostile_messages);
    return g_test_run();
}
