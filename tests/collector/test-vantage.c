// SPDX-License-Identifier: GPL-2.0-or-later
/* Which of the points that see a connection is shown. */
#include <glib.h>
#include <string.h>

#include "vantage-world.h"

static void test_server_is_preferred(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    show(world, T0 + VANTAGE_HOLD_NS);
    assert_shown(world, -1); /* waits for the server's */
    in(world, SERVER_0, T0 + MILLI, SYN(C0, 40000, S0, 8080, 1, 2));
    show(world, T0 + MILLI);
    assert_shown(world, 2, -1);
    out(world, SERVER_0, T0 + 2 * MILLI, DATA(S0, 8080, C0, 40000, 3));
    in(world, CLIENT_0, T0 + 3 * MILLI, DATA(S0, 8080, C0, 40000, 4));
    show(world, T0 + 3 * MILLI);
    assert_shown(world, 2, 3, -1);
    g_assert_cmpuint(left_out(world), ==, 2);
    world_free(world);
}

static void test_wait_is_bounded(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    show(world, T0 + VANTAGE_HOLD_NS);
    assert_shown(world, -1);
    show(world, T0 + VANTAGE_HOLD_NS + 1);
    assert_shown(world, 1, -1);
    /* Decided: the server's copies do not double it. */
    in(world, SERVER_0, T0 + 200 * MILLI, SYN(C0, 40000, S0, 8080, 1, 2));
    out(world, CLIENT_0, T0 + 201 * MILLI, DATA(C0, 40000, S0, 8080, 3));
    show(world, T0 + 201 * MILLI);
    assert_shown(world, 1, 3, -1);
    world_free(world);
}

static void test_no_wait_where_nobody_else_captures(void)
{
    World *world = world_new((bool[]){true, true, false, false}, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    out(world, CLIENT_0, T0, SYN(C0, 40001, VIP, 80, 1, 2));
    out(world, CLIENT_0, T0, SYN(C0, 40002, "8.8.8.8", 80, 1, 3));
    show(world, T0);
    assert_shown(world, 1, 2, 3, -1);
    world_free(world);
}

static void test_service_legs_are_joined(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1));
    show(world, T0);
    assert_shown(world, -1);
    in(world, SERVER_1, T0 + MILLI, SYN(C0, 40000, server_address[1], 8080, 7, 2));
    VantagePacket packet;
    g_assert_true(vantage_pop(world->vantage, T0 + MILLI, &packet));
    g_assert_nonnull(packet.service);
    g_assert_cmpstr(packet.service->name, ==, "catalog");
    g_assert_false(packet.service_is_src);
    merge_buffer_unref(packet.packet.buffer);
    /* The reply, seen at both ends under different addresses. */
    out(world, SERVER_1, T0 + 2 * MILLI, DATA(server_address[1], 8080, C0, 40000, 3));
    in(world, CLIENT_0, T0 + 3 * MILLI, DATA(VIP, 80, C0, 40000, 4));
    g_assert_true(vantage_pop(world->vantage, T0 + 3 * MILLI, &packet));
    g_assert_cmpstr(packet.service->name, ==, "catalog");
    g_assert_true(packet.service_is_src);
    merge_buffer_unref(packet.packet.buffer);
    show(world, T0 + 3 * MILLI);
    assert_shown(world, -1);
    g_assert_cmpuint(left_out(world), ==, 2);
    world_free(world);
}

static void test_server_leg_first(void)
{
    World *world = world_new(NULL, 0);
    in(world, SERVER_0, T0, SYN(C0, 40000, S0, 8080, 7, 1)); /* the server's clock is behind */
    show(world, T0);
    out(world, CLIENT_0, T0 + 20 * MILLI, SYN(C0, 40000, VIP, 80, 7, 2));
    show(world, T0 + 20 * MILLI);
    assert_shown(world, 1, -1);
    g_assert_cmpuint(left_out(world), ==, 1);
    world_free(world);
}

static void test_service_leg_alone_stays(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1)); /* dropped by a policy, say */
    show(world, T0 + VANTAGE_HOLD_NS + 1);
    assert_shown(world, 1, -1);
    out(world, CLIENT_0, T0 + SECOND, SYN(C0, 40000, VIP, 80, 7, 2));
    show(world, T0 + SECOND);
    assert_shown(world, 1, 2, -1);
    world_free(world);
}

static void test_other_client_is_not_joined(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1));
    in(world, SERVER_0, T0, SYN("10.0.0.9", 50000, S0, 8080, 7, 2)); /* masqueraded */
    show(world, T0 + VANTAGE_HOLD_NS + 1);
    assert_shown(world, 1, 2, -1);
    world_free(world);
}

static void test_new_connection_decides_again(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    show(world, UINT64_MAX);
    assert_shown(world, 1, -1); /* the client's, for the server's did not come */
    uint64_t t = T0 + 5 * SECOND;
    out(world, CLIENT_0, t, SYN(C0, 40000, S0, 8080, 1000, 2));
    in(world, SERVER_0, t + 1, SYN(C0, 40000, S0, 8080, 1000, 3));
    show(world, t + 1);
    assert_shown(world, 1, 3, -1);
    /* So does long silence. */
    t += VANTAGE_IDLE_NS + SECOND;
    vantage_point_changed(world->vantage, &world->points[SERVER_0]);
    out(world, CLIENT_0, t, DATA(C0, 40000, S0, 8080, 4));
    show(world, t + VANTAGE_HOLD_NS + 1);
    assert_shown(world, 1, 3, 4, -1);
    world_free(world);
}

static void test_dead_point_gives_way(void)
{
    World *world = world_new(NULL, 0);
    in(world, SERVER_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    out(world, CLIENT_0, T0 + 1, DATA(C0, 40000, S0, 8080, 2));
    show(world, T0 + 1);
    assert_shown(world, 1, -1);
    world->points[SERVER_0].alive = false;
    vantage_point_changed(world->vantage, &world->points[SERVER_0]);
    out(world, CLIENT_0, T0 + 2, DATA(C0, 40000, S0, 8080, 3));
    show(world, T0 + 2);
    assert_shown(world, 1, 3, -1);
    world_free(world);
}

static void test_silent_point_gives_way(void)
{
    World *world = world_new(NULL, 0);
    in(world, SERVER_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    uint64_t t = T0 + VANTAGE_SILENT_NS + MILLI;
    out(world, CLIENT_0, t, DATA(C0, 40000, S0, 8080, 2));
    in(world, SERVER_0, t + 1, DATA(C0, 40000, S0, 8080, 3)); /* it was only idle */
    show(world, t + 1);
    assert_shown(world, 1, 3, -1);
    t += VANTAGE_SILENT_NS + MILLI;
    out(world, CLIENT_0, t, DATA(C0, 40000, S0, 8080, 4)); /* and now cut off */
    out(world, CLIENT_0, t + 1, DATA(C0, 40000, S0, 8080, 5));
    show(world, t + 1);
    assert_shown(world, 1, 3, -1);
    show(world, t + VANTAGE_HOLD_NS + 1);
    assert_shown(world, 1, 3, 4, 5, -1);
    world_free(world);
}

static void test_what_has_no_connection_stays(void)
{
    World *world = world_new(NULL, 0);
    const FixturePacket multicast = {.src = C0,
                                     .dst = "224.0.0.251",
                                     .protocol = 17,
                                     .src_port = 5353,
                                     .dst_port = 5353,
                                     .number = 1};
    out(world, CLIENT_0, T0, &multicast);
    in(world, CLIENT_1, T0, &multicast);
    in(world, SERVER_0, T0, &multicast);
    const FixturePacket local = {.src = "127.0.0.1",
                                 .dst = "127.0.0.1",
                                 .protocol = 6,
                                 .src_port = 1,
                                 .dst_port = 2,
                                 .number = 2};
    in(world, POINTS, T0, &local);
    in(world, POINTS, T0, &local);
    show(world, T0);
    assert_shown(world, 1, 1, 1, 2, 2, -1);
    world_free(world);
}

static void test_ping(void)
{
    World *world = world_new(NULL, 0);
    FixturePacket echo = {.src = C0, .dst = S0, .protocol = 1, .src_port = 77, .number = 1};
    FixturePacket reply = {
        .src = S0, .dst = C0, .protocol = 1, .src_port = 77, .echo_reply = true, .number = 2};
    out(world, CLIENT_0, T0, &echo);
    in(world, SERVER_0, T0 + 1, &echo);
    out(world, SERVER_0, T0 + 2, &reply);
    in(world, CLIENT_0, T0 + 3, &reply);
    show(world, T0 + 3);
    assert_shown(world, 1, 2, -1);
    g_assert_cmpuint(left_out(world), ==, 2);
    world_free(world);
}

/* ---- A network -------------------------------------------------------------------------------*/

/* One packet of an application, and where it was seen. */
typedef struct Sent {
    uint32_t number;
    bool at_client, at_server;
} Sent;

typedef struct Seen {
    uint64_t time_ns;
    unsigned point, direction;
    FixturePacket packet;
} Seen;

typedef struct Network {
    GRand *random;
    GArray *seen; /* of Seen */
    GArray *sent; /* of Sent; the number is the index */
    bool captured[POINTS];
    int64_t skew_ns[POINTS];
    double loss; /* between the pods */
} Network;

static void note_seen(Network *network, unsigned point, unsigned direction, uint64_t time_ns,
                      const FixturePacket *packet)
{
    Seen seen = {(uint64_t)((int64_t)time_ns + network->skew_ns[point]), point, direction, *packet};
    g_array_append_val(network->seen, seen);
}

/* One packet on its way, to the service's address if `via_service`: the client's end sees that, the
 * server's the pod's. */
static void transmit(Network *network, unsigned client, unsigned server, bool via_service,
                     bool to_server, uint16_t port, uint8_t flags, uint32_t isn, uint64_t *time_ns)
{
    Sent sent = {.number = network->sent->len};
    FixturePacket near = {.protocol = 6, .number = sent.number, .tcp_flags = flags};
    if (flags & 2)
        near.tcp_seq = to_server ? isn : 99;
    near.tcp_ack = isn + 1;
    near.src = client_address[client];
    near.dst = via_service ? VIP : server_address[server];
    near.src_port = port;
    near.dst_port = via_service ? 80 : 8080;
    FixturePacket far = near;
    far.dst = server_address[server];
    far.dst_port = 8080;
    if (!to_server) {
        FixturePacket *const both[] = {&near, &far};
        for (size_t i = 0; i < 2; i++) {
            FixturePacket p = *both[i];
            both[i]->src = p.dst;
            both[i]->dst = p.src;
            both[i]->src_port = p.dst_port;
            both[i]->dst_port = p.src_port;
        }
    }
    bool arrives = g_rand_double(network->random) >= network->loss;
    unsigned client_point = CLIENT_0 + client, server_point = SERVER_0 + server;
    sent.at_client = network->captured[client_point] && (to_server || arrives);
    sent.at_server = network->captured[server_point] && (!to_server || arrives);
    uint64_t far_ns = *time_ns + (uint64_t)g_rand_int_range(network->random, 1000, 500000);
    if (sent.at_client)
        note_seen(network, client_point,
                  to_server ? PCAPNG_DIRECTION_OUTBOUND : PCAPNG_DIRECTION_INBOUND,
                  to_server ? *time_ns : far_ns, &near);
    if (sent.at_server)
        note_seen(network, server_point,
                  to_server ? PCAPNG_DIRECTION_INBOUND : PCAPNG_DIRECTION_OUTBOUND,
                  to_server ? far_ns : *time_ns, &far);
    g_array_append_val(network->sent, sent);
    *time_ns = far_ns + (uint64_t)g_rand_int_range(network->random, 1000, 5000000);
}

/* A port is used again after 600 ms: longer than a conversation lasts, and soon. */
static void converse(Network *network, unsigned index)
{
    uint64_t time_ns = T0 + index * 30 * MILLI;
    uint16_t port = (uint16_t)(40000 + index % 20);
    unsigned client = (unsigned)g_rand_int_range(network->random, 0, 2);
    unsigned server = (unsigned)g_rand_int_range(network->random, 0, 2);
    bool via_service = g_rand_boolean(network->random);
    uint32_t isn = g_rand_int(network->random);
    transmit(network, client, server, via_service, true, port, 0x02, isn, &time_ns);
    transmit(network, client, server, via_service, false, port, 0x12, isn, &time_ns);
    int n = g_rand_int_range(network->random, 1, 30);
    for (int i = 0; i < n; i++)
        transmit(network, client, server, via_service, g_rand_boolean(network->random), port, 0x18,
                 isn, &time_ns);
}

static gint by_time(gconstpointer a, gconstpointer b)
{
    const Seen *x = a, *y = b;
    return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

static void run_network(uint32_t seed, bool all_captured, double loss)
{
    Network network = {.random = g_rand_new_with_seed(seed), .loss = loss};
    network.seen = g_array_new(FALSE, TRUE, sizeof(Seen));
    network.sent = g_array_new(FALSE, TRUE, sizeof(Sent));
    for (unsigned i = 0; i < POINTS; i++) {
        network.captured[i] = all_captured || g_rand_boolean(network.random);
        network.skew_ns[i] = g_rand_int_range(network.random, -20, 20) * (int64_t)MILLI;
    }
    for (unsigned i = 0; i < 60; i++)
        converse(&network, i);
    g_array_sort(network.seen, by_time);

    World *world = world_new(network.captured, 0);
    for (guint i = 0; i < network.seen->len; i++) {
        const Seen *seen = &g_array_index(network.seen, Seen, i);
        see(world, seen->point, seen->time_ns, seen->direction, &seen->packet);
        show(world, seen->time_ns);
    }
    show(world, UINT64_MAX);

    g_assert_cmpuint(world->shown->len + left_out(world), ==, network.seen->len);
    g_autofree unsigned *times = g_new0(unsigned, network.sent->len);
    for (guint i = 0; i < world->shown->len; i++)
        times[g_array_index(world->shown, uint32_t, i)]++;
    for (guint i = 0; i < network.sent->len; i++) {
        const Sent *sent = &g_array_index(network.sent, Sent, i);
        bool both = sent->at_client && sent->at_server;
        if (both || (loss == 0 && (sent->at_client || sent->at_server)))
            g_assert_cmpuint(times[i], ==, 1);
        g_assert_cmpuint(times[i], <=, 1);
    }
    world_free(world);
    g_array_unref(network.seen);
    g_array_unref(network.sent);
    g_rand_free(network.random);
}

static void test_network(void)
{
    for (uint32_t seed = 0; seed < 150; seed++) {
        run_network(seed, true, 0);
        run_network(seed, false, 0);
        run_network(seed, true, 0.05);
        run_network(seed, false, 0.05);
    }
}

/* Beside the packets of c0 and s0 their plaintext is told, at points of their own. */
enum { PLAIN_CLIENT = CLIENT_1, PLAIN_SERVER = SERVER_1 };

static World *plaintext_world(void)
{
    World *world = world_new(NULL, 0);
    world->points[PLAIN_CLIENT].target_uid = world->points[CLIENT_0].target_uid;
    world->points[PLAIN_SERVER].target_uid = world->points[SERVER_0].target_uid;
    world->points[PLAIN_CLIENT].plaintext = world->points[PLAIN_SERVER].plaintext = true;
    return world;
}

/* The same addresses and ports, but another matter; and the two ends have made up their sequence
 * numbers each. */
static void test_plaintext_is_apart(void)
{
    World *world = plaintext_world();
    out(world, CLIENT_0, T0, SYN(C0, 40000, S0, 8080, 1, 1));
    in(world, SERVER_0, T0, SYN(C0, 40000, S0, 8080, 1, 2));
    out(world, PLAIN_CLIENT, T0 + MILLI, SYN(C0, 40000, S0, 8080, 77, 3));
    in(world, PLAIN_SERVER, T0 + MILLI, SYN(C0, 40000, S0, 8080, 88, 4));
    out(world, PLAIN_CLIENT, T0 + MILLI, DATA(C0, 40000, S0, 8080, 5));
    in(world, PLAIN_SERVER, T0 + 2 * MILLI, DATA(C0, 40000, S0, 8080, 6));
    out(world, CLIENT_0, T0 + 3 * MILLI, DATA(C0, 40000, S0, 8080, 7));
    in(world, SERVER_0, T0 + 3 * MILLI, DATA(C0, 40000, S0, 8080, 8));
    show(world, UINT64_MAX);
    assert_shown(world, 2, 4, 6, 8, -1);
    world_free(world);
}

/* The service's address at the client, the pod's at the server. */
static void test_plaintext_through_a_service(void)
{
    World *world = plaintext_world();
    out(world, PLAIN_CLIENT, T0, SYN(C0, 40000, VIP, 80, 77, 1));
    in(world, PLAIN_SERVER, T0 + MILLI, SYN(C0, 40000, S0, 8080, 88, 2));
    out(world, PLAIN_CLIENT, T0 + 2 * MILLI, DATA(C0, 40000, VIP, 80, 3));
    in(world, PLAIN_SERVER, T0 + 3 * MILLI, DATA(C0, 40000, S0, 8080, 4));
    show(world, UINT64_MAX);
    assert_shown(world, 2, 4, -1);
    world_free(world);
}

/* A process reads when it likes: that the chosen end is silent says nothing. */
static void test_plaintext_stays_at_its_end(void)
{
    World *world = plaintext_world();
    out(world, PLAIN_CLIENT, T0, SYN(C0, 40000, S0, 8080, 77, 1));
    in(world, PLAIN_SERVER, T0, SYN(C0, 40000, S0, 8080, 88, 2));
    out(world, PLAIN_CLIENT, T0 + 5 * VANTAGE_SILENT_NS, DATA(C0, 40000, S0, 8080, 3));
    in(world, PLAIN_SERVER, T0 + 6 * VANTAGE_SILENT_NS, DATA(C0, 40000, S0, 8080, 4));
    show(world, UINT64_MAX);
    assert_shown(world, 2, 4, -1);
    /* The same ports once more, and the server's process is none that is hooked. */
    out(world, PLAIN_CLIENT, T0 + 7 * VANTAGE_SILENT_NS, SYN(C0, 40000, S0, 8080, 79, 5));
    out(world, PLAIN_CLIENT, T0 + 7 * VANTAGE_SILENT_NS, DATA(C0, 40000, S0, 8080, 6));
    show(world, UINT64_MAX);
    assert_shown(world, 2, 4, 5, 6, -1);
    world_free(world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vantage/server-is-preferred", test_server_is_preferred);
    g_test_add_func("/vantage/plaintext/apart", test_plaintext_is_apart);
    g_test_add_func("/vantage/plaintext/service", test_plaintext_through_a_service);
    g_test_add_func("/vantage/plaintext/stays", test_plaintext_stays_at_its_end);
    g_test_add_func("/vantage/wait-is-bounded", test_wait_is_bounded);
    g_test_add_func("/vantage/no-needless-wait", test_no_wait_where_nobody_else_captures);
    g_test_add_func("/vantage/service-legs", test_service_legs_are_joined);
    g_test_add_func("/vantage/server-leg-first", test_server_leg_first);
    g_test_add_func("/vantage/service-leg-alone", test_service_leg_alone_stays);
    g_test_add_func("/vantage/masqueraded", test_other_client_is_not_joined);
    g_test_add_func("/vantage/new-connection", test_new_connection_decides_again);
    g_test_add_func("/vantage/dead-point", test_dead_point_gives_way);
    g_test_add_func("/vantage/silent-point", test_silent_point_gives_way);
    g_test_add_func("/vantage/no-connection", test_what_has_no_connection_stays);
    g_test_add_func("/vantage/ping", test_ping);
    g_test_add_func("/vantage/network", test_network);
    return g_test_run();
}
