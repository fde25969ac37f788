// SPDX-License-Identifier: GPL-2.0-or-later
/* The collector of a name whose nodes come, go, and have several addresses. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "collector-run.h"
#include "fake-dns.h"

typedef struct World {
    Run run; /* its nodes 0 and 1 are the ones below that send packets */
    FakeDns dns;
    unsigned port;
    char *endpoints[3]; /* of the configuration */
} World;

static char *endpoint_at(const World *world, unsigned place)
{
    return g_strdup_printf("127.0.0.%u:%u", place, world->port);
}

/* Listens at 127.0.0.PLACE. */
static FakeNode *listen_at(World *world, unsigned place)
{
    g_autofree char *endpoint = endpoint_at(world, place);
    FakeNode *node = fake_node_new_at(endpoint);
    g_assert_nonnull(node);
    return node;
}

static void greet(FakeNode *node, const char *name, const char *boot_id, const char *address)
{
    g_autofree char *pod = g_strdup_printf("pod-of-%s", name);
    g_autofree char *uid = g_strdup_printf("uid-%s", pod);
    fake_node_hello(node, name, boot_id);
    fake_node_pod(node, pod, address);
    fake_node_interface(node, 1, uid, "eth0");
}

/* A node of the run, for run_send_packets(). */
static void begin_at(World *world, int index, unsigned place, const char *boot_id)
{
    world->run.nodes[index] = listen_at(world, place);
    greet(world->run.nodes[index], index ? "node-b" : "node-a", boot_id,
          index ? "10.2.0.1" : "10.1.0.1");
}

static void setup(World *world, gconstpointer data)
{
    run_setup(&world->run, data);
    fake_dns_init(&world->dns);
    FakeNode *probe = fake_node_new_at("127.0.0.2:0");
    g_assert_nonnull(probe);
    world->port = fake_node_port(probe);
    fake_node_free(probe);
    world->endpoints[0] = g_strdup_printf("dns:///nodes.remora:%u", world->port);
    CollectorConfig *config = &world->run.config;
    config->endpoints = world->endpoints;
    config->insecure = true;
    config->resolver = &world->dns.resolver;
    config->resolve_interval_ns = 20 * MILLI;
    config->connect_timeout_ns = 20 * SECOND;
}

static void teardown(World *world, gconstpointer data)
{
    run_teardown(&world->run, data);
    fake_dns_clear(&world->dns);
    g_free(world->endpoints[0]);
}

static void heartbeats(World *world, uint64_t time_ns)
{
    for (int i = 0; i < 2; i++)
        if (world->run.nodes[i])
            fake_node_heartbeat(world->run.nodes[i], time_ns);
}

static bool noted(World *world, const char *part)
{
    g_mutex_lock(&world->run.lock);
    bool found = strstr(world->run.notes->str, part);
    g_mutex_unlock(&world->run.lock);
    return found;
}

static CollectorStats stats_of(World *world)
{
    CollectorStats stats;
    collector_stats(world->run.collector, &stats);
    return stats;
}

/* What others see of the collector lags behind its notes by a turn of its loop. */
static void wait_for_nodes(World *world, unsigned nodes)
{
    gint64 end = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;
    while (stats_of(world).nodes != nodes) {
        if (g_get_monotonic_time() > end)
            g_error("%u nodes, expected %u", stats_of(world).nodes, nodes);
        g_usleep(1000);
    }
}

/* ---- Joining and leaving ---------------------------------------------------------------------*/

static void test_join(World *world, gconstpointer data)
{
    Run *run = &world->run;
    fake_dns_answer(&world->dns, "127.0.0.2");
    begin_at(world, 0, 2, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_send_packets(run, 0, 1, T0, 0, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    run_wait_for_packets(run, 5);

    begin_at(world, 1, 3, "boot-1");
    fake_dns_answer(&world->dns, "127.0.0.3 127.0.0.2");
    g_autofree char *at = g_strdup_printf("node-b has joined, at 127.0.0.3:%u", world->port);
    run_wait_for_note(run, at);
    run_send_packets(run, 1, 1, T0 + 2 * SECOND, 100, 5);
    run_send_packets(run, 0, 1, T0 + 2 * SECOND + MILLI / 2, 5, 5);
    heartbeats(world, T0 + 3 * SECOND);
    run_wait_for_packets(run, 15);
    wait_for_nodes(world, 2);
    run_stop(run);
    g_assert_true(run->result);
    Content content = run_content(run);
    g_assert_cmpuint(content.packets, ==, 15);
    g_assert_true(content.sorted);
    g_assert_cmpuint(content.interfaces, ==, 2);
    g_assert_cmpuint(content.statistics, ==, 2);
    g_assert_cmpuint(content.delivered, ==, 15);
    g_assert_cmpstr(content.remarks->str, ==, "");
    content_clear(&content);
    g_assert_cmpuint(stats_of(world).gaps, ==, 0);
}

static void begin_two(World *world)
{
    Run *run = &world->run;
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    begin_at(world, 0, 2, "boot-1");
    begin_at(world, 1, 3, "boot-1");
    run->config.comments = true;
    run_start(run);
    run_send_packets(run, 0, 1, T0, 0, 5);
    run_send_packets(run, 1, 1, T0, 100, 5);
    heartbeats(world, T0 + SECOND);
    run_wait_for_packets(run, 10);
}

static void test_leave(World *world, gconstpointer data)
{
    Run *run = &world->run;
    begin_two(world);
    /* Neither of both alone is leaving: the name forgets it while it answers ... */
    fake_dns_answer(&world->dns, "127.0.0.2");
    fake_dns_wait_heard(&world->dns);
    run_send_packets(run, 1, 1, T0 + 2 * SECOND, 105, 5);
    heartbeats(world, T0 + 3 * SECOND);
    run_wait_for_packets(run, 15);
    g_assert_false(noted(world, "has left"));
    /* ... and it ends while the name has it. */
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    fake_dns_wait_heard(&world->dns);
    run->nodes[1] = fake_node_free(run->nodes[1]);
    run_wait_for_note(run, "Lost the connection to node-b");
    fake_dns_wait_heard(&world->dns);
    g_assert_false(noted(world, "has left"));
    wait_for_nodes(world, 2);

    fake_dns_answer(&world->dns, "127.0.0.2");
    run_wait_for_note(run, "node-b has left: dns:///nodes.remora");
    /* The other is not held up, although the waiting time is an hour. */
    run_send_packets(run, 0, 1, T0 + 11 * SECOND, 5, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 12 * SECOND);
    run_wait_for_packets(run, 20);
    wait_for_nodes(world, 1);
    run_stop(run);
    g_assert_true(run->result);
    Content content = run_content(run);
    g_assert_cmpuint(content.packets, ==, 20);
    g_assert_cmpuint(content.statistics, ==, 2); /* of the one that left too */
    g_assert_cmpuint(content.received, ==, 20);
    g_assert_nonnull(strstr(content.remarks->str, "node-b was away from"));
    g_assert_nonnull(strstr(content.remarks->str, "until the end"));
    g_assert_null(strstr(content.remarks->str, "node-a"));
    content_clear(&content);
}

/* The pod of a node's remora-node is another one now, with another address. */
static void test_back_elsewhere(World *world, gconstpointer data)
{
    Run *run = &world->run;
    begin_two(world);
    run->nodes[1] = fake_node_free(run->nodes[1]);
    fake_dns_answer(&world->dns, "127.0.0.2");
    run_wait_for_note(run, "node-b has left");
    begin_at(world, 1, 4, "boot-2");
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.4");
    run_wait_for_note(run, "node-b is back");
    g_assert_true(noted(world, "restarted"));
    run_send_packets(run, 1, 1, T0 + 2 * SECOND, 105, 5);
    heartbeats(world, T0 + 3 * SECOND);
    run_wait_for_packets(run, 15);
    run_stop(run);
    Content content = run_content(run);
    g_assert_cmpuint(content.packets, ==, 15);
    g_assert_cmpuint(content.interfaces, ==, 2);
    g_assert_nonnull(strstr(content.comments->str, "node-b was away from"));
    g_assert_nonnull(strstr(content.comments->str, "(restarted)"));
    g_assert_null(strstr(content.remarks->str, "until the end"));
    content_clear(&content);
    g_assert_cmpuint(stats_of(world).gaps, ==, 1);
}

/* Two processes of one node for a while: a rolling update that starts the new one first. */
static void test_replaced(World *world, gconstpointer data)
{
    Run *run = &world->run;
    fake_dns_answer(&world->dns, "127.0.0.2");
    FakeNode *old = listen_at(world, 2);
    greet(old, "node-a", "boot-1", "10.1.0.1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    begin_at(world, 0, 3, "boot-2");
    fake_dns_answer(&world->dns, "127.0.0.3");
    g_autofree char *at = g_strdup_printf("node-a is no longer at 127.0.0.2:%u", world->port);
    run_wait_for_note(run, at);
    g_assert_false(noted(world, "Lost the connection"));
    g_assert_false(noted(world, "Two processes"));
    run_send_packets(run, 0, 1, T0, 0, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    run_wait_for_packets(run, 5);
    g_assert_cmpuint(fake_node_calls(old), ==, 1);
    wait_for_nodes(world, 1);
    g_assert_cmpuint(stats_of(world).gaps, ==, 0);
    run_stop(run);
    Content content = run_content(run);
    g_assert_cmpstr(content.comments->str, ==, "");
    g_assert_cmpstr(content.remarks->str, ==, "");
    content_clear(&content);
    fake_node_free(old);
}

static void test_two_processes(World *world, gconstpointer data)
{
    Run *run = &world->run;
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    begin_at(world, 0, 2, "boot-1");
    FakeNode *other = listen_at(world, 3);
    greet(other, "node-a", "boot-2", "10.1.0.1");
    run_start(run);
    run_wait_for_note(run, "Two processes call themselves node-a");
    g_assert_cmpuint(fake_node_calls(other) + fake_node_calls(run->nodes[0]), ==, 2);
    run_stop(run);
    g_assert_true(run->result);
    fake_node_free(other);
}

/* ---- One node, several addresses -------------------------------------------------------------*/

/* One of both is captured; when it goes, the other is there. */
static void test_same_node(World *world, gconstpointer data)
{
    Run *run = &world->run;
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    begin_at(world, 0, 2, "boot-1");
    run->nodes[1] = listen_at(world, 3);
    greet(run->nodes[1], "node-a", "boot-1", "10.1.0.1");
    run_start(run);
    run_wait_for_note(run, "are the same node, node-a: it is captured once");
    g_autofree char *two_first =
        g_strdup_printf("127.0.0.2:%u and 127.0.0.3:%u are", world->port, world->port);
    int kept = noted(world, two_first) ? 0 : 1;
    for (int i = 0; i < 2; i++)
        run_send_packets(run, i, 1, T0, 0, 5);
    heartbeats(world, T0 + SECOND);
    run_wait_for_packets(run, 5);
    fake_dns_wait_heard(&world->dns);
    g_assert_cmpuint(stats_of(world).packets_received, ==, 5);
    wait_for_nodes(world, 1);
    g_assert_cmpuint(stats_of(world).nodes_connected, ==, 1);
    g_assert_false(noted(world, "Lost the connection"));

    fake_node_forget(run->nodes[!kept]);
    greet(run->nodes[!kept], "node-a", "boot-1", "10.1.0.1");
    run->nodes[kept] = fake_node_free(run->nodes[kept]);
    run_wait_for_note(run, "Lost the connection to node-a");
    run_wait_for_note(run, "node-a is back");
    g_assert_false(noted(world, "restarted"));
    g_assert_cmpuint(fake_node_calls(run->nodes[!kept]), ==, 2);
    run_stop(run);
    g_assert_cmpuint(stats_of(world).gaps, ==, 1);
}

static void test_dual_stack(World *world, gconstpointer data)
{
    Run *run = &world->run;
    g_autofree char *v6 = g_strdup_printf("[::1]:%u", world->port);
    run->nodes[1] = fake_node_new_at(v6);
    if (!run->nodes[1]) {
        g_test_skip("this machine has no IPv6");
        return;
    }
    greet(run->nodes[1], "node-a", "boot-1", "10.1.0.1");
    fake_dns_answer(&world->dns, "127.0.0.2 ::1");
    begin_at(world, 0, 2, "boot-1");
    run_start(run);
    run_wait_for_note(run, "are the same node, node-a: it is captured once");
    g_assert_true(noted(world, v6));
    wait_for_nodes(world, 1);
    run_stop(run);
}

/* The name and the endpoints beside it may mean the same nodes. */
static void test_mixed(World *world, gconstpointer data)
{
    Run *run = &world->run;
    g_autofree char *fixed = endpoint_at(world, 2);
    char *endpoints[] = {world->endpoints[0], fixed, run->endpoints[0], NULL};
    run->config.endpoints = endpoints;
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    begin_at(world, 0, 2, "boot-1");
    begin_at(world, 1, 3, "boot-1");
    FakeNode *third = fake_node_new(run->paths[0]);
    greet(third, "node-c", "boot-1", "10.3.0.1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "Connected to node-b");
    run_wait_for_note(run, "Connected to node-c");
    fake_dns_wait_heard(&world->dns);
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 1);
    wait_for_nodes(world, 3);
    run_stop(run);
    g_assert_true(run->result);
    fake_node_free(third);
}

/* ---- Name servers ----------------------------------------------------------------------------*/

static void test_name_vanishes(World *world, gconstpointer data)
{
    static const int errors[] = {G_RESOLVER_ERROR_NOT_FOUND, G_RESOLVER_ERROR_TEMPORARY_FAILURE};
    Run *run = &world->run;
    begin_two(world);
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        fake_dns_fail(&world->dns, errors[i]);
        run_wait_for_note(run, i ? "no name server gives an answer" : "the name is not known");
        fake_dns_wait_heard(&world->dns);
        fake_dns_wait_heard(&world->dns);
        run_send_packets(run, 0, 1, T0 + (2 + i) * SECOND, 5 + 5 * (uint32_t)i, 5);
        run_send_packets(run, 1, 1, T0 + (2 + i) * SECOND, 105 + 5 * (uint32_t)i, 5);
        heartbeats(world, T0 + (2 + i) * SECOND + SECOND / 2);
        run_wait_for_packets(run, 20 + 10 * (unsigned)i);
    }
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    run_wait_for_note(run, "is resolved again");
    fake_dns_wait_heard(&world->dns);
    g_assert_false(noted(world, "has left"));
    g_assert_false(noted(world, "Lost the connection"));
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 1);
    g_assert_cmpuint(fake_node_calls(run->nodes[1]), ==, 1);
    run_stop(run);
    g_assert_cmpuint(stats_of(world).gaps, ==, 0);
}

/* A node that cannot be reached while no name server says anything may well be there again soon. */
static void test_lost_in_silence(World *world, gconstpointer data)
{
    Run *run = &world->run;
    begin_two(world);
    fake_dns_fail(&world->dns, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
    run_wait_for_note(run, "no name server gives an answer");
    run->nodes[1] = fake_node_free(run->nodes[1]);
    run_wait_for_note(run, "Lost the connection to node-b");
    fake_dns_wait_heard(&world->dns);
    fake_dns_wait_heard(&world->dns);
    g_assert_false(noted(world, "has left"));
    begin_at(world, 1, 3, "boot-1");
    run_wait_for_note(run, "node-b is back");
    run_stop(run);
}

static void test_not_known(World *world, gconstpointer data)
{
    Run *run = &world->run;
    run->config.connect_timeout_ns = 200 * MILLI;
    run_start(run);
    g_thread_join(run->thread);
    g_assert_false(run->result);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_true(g_str_has_prefix(run->error->message, world->endpoints[0]));
    g_assert_nonnull(strstr(run->error->message, "the name is not known, or has no addresses"));
    g_assert_cmpuint(run->out->len, ==, 0);
}

static void test_no_answer(World *world, gconstpointer data)
{
    Run *run = &world->run;
    run->config.connect_timeout_ns = 200 * MILLI;
    fake_dns_fail(&world->dns, -1);
    run_start(run);
    g_thread_join(run->thread);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_nonnull(strstr(run->error->message, "no name server gives an answer"));
}

static void test_no_node(World *world, gconstpointer data)
{
    Run *run = &world->run;
    run->config.connect_timeout_ns = 500 * MILLI;
    fake_dns_answer(&world->dns, "127.0.0.2");
    run_start(run);
    g_thread_join(run->thread);
    g_autofree char *at = g_strdup_printf("%s, 127.0.0.2:%u: ", world->endpoints[0], world->port);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_true(g_str_has_prefix(run->error->message, at));
    g_assert_nonnull(strstr(run->error->message, "Is remora-node running"));
}

static void test_refused(World *world, gconstpointer data)
{
    Run *run = &world->run;
    run->config.connect_timeout_ns = FOREVER_NS; /* it must not wait for that */
    fake_dns_answer(&world->dns, "127.0.0.2 127.0.0.3");
    for (int i = 0; i < 2; i++) {
        run->nodes[i] = listen_at(world, 2 + (unsigned)i);
        fake_node_finish(run->nodes[i], -EINVAL, "filter: syntax error near 'prot'", true);
    }
    run_start(run);
    g_thread_join(run->thread);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_nonnull(strstr(run->error->message, "syntax error near 'prot'"));
}

/* At the start a name that is not resolved yet holds the others back as a silent node would. */
static void test_slow_name(World *world, gconstpointer data)
{
    Run *run = &world->run;
    char *endpoints[] = {world->endpoints[0], run->endpoints[0], NULL};
    run->config.endpoints = endpoints;
    fake_dns_fail(&world->dns, -1);
    run_begin(run, 0, "boot-1");
    run_start(run);
    run_send_packets(run, 0, 1, T0 + SECOND, 0, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 3 * SECOND);
    run_wait_for_note(run, "Connected to node-a");
    run->nodes[1] = listen_at(world, 2);
    greet(run->nodes[1], "node-b", "boot-1", "10.2.0.1");
    run_send_packets(run, 1, 1, T0, 100, 5);
    fake_node_heartbeat(run->nodes[1], T0 + 3 * SECOND);
    fake_dns_answer(&world->dns, "127.0.0.2");
    run_wait_for_packets(run, 10);
    run_stop(run);
    Content content = run_content(run);
    g_assert_true(content.sorted); /* the later node had the earlier packets */
    content_clear(&content);
}

static void test_silent_name(World *world, gconstpointer data)
{
    Run *run = &world->run;
    char *endpoints[] = {world->endpoints[0], run->endpoints[0], NULL};
    run->config.endpoints = endpoints;
    run->config.max_wait_ns = 300 * MILLI;
    fake_dns_fail(&world->dns, -1);
    run_begin(run, 0, "boot-1");
    run_start(run);
    run_send_packets(run, 0, 1, T0, 0, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    run_wait_for_packets(run, 5);
    run_stop(run);
}

/* Without --insecure a name may stand for this machine only. */
static void test_plain(World *world, gconstpointer data)
{
    static const CollectorSink sink = {.write = run_on_write, .note = run_on_note};
    Run *run = &world->run;
    GError *error = NULL;
    run->config.insecure = false;
    g_assert_null(collector_new(&run->config, &sink, run, &error));
    g_assert_nonnull(strstr(error->message, "--insecure"));
    g_clear_error(&error);

    g_autofree char *local = g_strdup_printf("dns:///localhost:%u", world->port);
    char *endpoints[] = {local, NULL};
    run->config.endpoints = endpoints;
    fake_dns_answer(&world->dns, "127.0.0.2 192.0.2.1");
    begin_at(world, 0, 2, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "192.0.2.1");
    run_stop(run);
    g_assert_true(run->result);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, FUNCTION) g_test_add("/members/" PATH, World, NULL, setup, FUNCTION, teardown)
    ADD("join", test_join);
    ADD("leave", test_leave);
    ADD("back-elsewhere", test_back_elsewhere);
    ADD("replaced", test_replaced);
    ADD("two-processes", test_two_processes);
    ADD("same-node", test_same_node);
    ADD("dual-stack", test_dual_stack);
    ADD("mixed", test_mixed);
    ADD("name-vanishes", test_name_vanishes);
    ADD("lost-in-silence", test_lost_in_silence);
    ADD("not-known", test_not_known);
    ADD("no-answer", test_no_answer);
    ADD("no-node", test_no_node);
    ADD("refused", test_refused);
    ADD("slow-name", test_slow_name);
    ADD("silent-name", test_silent_name);
    ADD("plain", test_plain);
    return g_test_run();
}
