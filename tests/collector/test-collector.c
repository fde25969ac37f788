// SPDX-License-Identifier: GPL-2.0-or-later
/* The collector against nodes that do as they are told. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "collector-run.h"
#include "collector/node-stream.h"

static void say_secrets(FakeNode *node)
{
    Remora__V1__TlsSecrets secrets = REMORA__V1__TLS_SECRETS__INIT;
    secrets.key_log = (ProtobufCBinaryData){20, (uint8_t *)"CLIENT_RANDOM 00 11\n"};
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_TLS_SECRETS;
    response.tls_secrets = &secrets;
    fake_node_say(node, &response);
}

/* In one message with others: a notice, one that this version does not know, and themselves again.
 */
static void say_secrets_among_others(FakeNode *node)
{
    Remora__V1__TlsSecrets secrets = REMORA__V1__TLS_SECRETS__INIT;
    secrets.key_log = (ProtobufCBinaryData){20, (uint8_t *)"CLIENT_RANDOM 00 11\n"};
    Remora__V1__Notice notice = REMORA__V1__NOTICE__INIT;
    notice.subject = (char *)"shop/cart";
    notice.message = (char *)"nothing of it";
    Remora__V1__Fact all[4] = {REMORA__V1__FACT__INIT, REMORA__V1__FACT__INIT,
                               REMORA__V1__FACT__INIT, REMORA__V1__FACT__INIT};
    all[1].body_case = REMORA__V1__FACT__BODY_NOTICE;
    all[1].notice = &notice;
    all[2].body_case = all[3].body_case = REMORA__V1__FACT__BODY_TLS_SECRETS;
    all[2].tls_secrets = all[3].tls_secrets = &secrets;
    Remora__V1__Fact *pointers[4] = {&all[0], &all[1], &all[2], &all[3]};
    Remora__V1__Facts facts = REMORA__V1__FACTS__INIT;
    facts.n_facts = G_N_ELEMENTS(pointers);
    facts.facts = pointers;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_FACTS;
    response.facts = &facts;
    fake_node_say(node, &response);
}

static void test_two_nodes(Run *run, gconstpointer data)
{
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    say_secrets_among_others(run->nodes[1]);
    run->config.comments = true;
    run_start(run);
    run_send_packets(run, 0, 1, T0, 0, 10);
    run_send_packets(run, 1, 1, T0 + MILLI / 2, 100, 10);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    run_wait_for_packets(run, 20);
    run_stop(run);
    g_assert_true(run->result);
    Content content = run_content(run);
    g_assert_cmpuint(content.sections, ==, 1);
    g_assert_cmpuint(content.interfaces, ==, 2);
    g_assert_nonnull(strstr(content.names->str, "east/node-a\n"));
    g_assert_nonnull(strstr(content.names->str, "east/node-b\n"));
    g_assert_cmpuint(content.packets, ==, 20);
    g_assert_true(content.sorted);
    g_assert_true(content.secrets == 1 && content.before_secrets == 0);
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

/* Secrets that come a little behind their packets are written ahead of them. */
static void test_secrets_are_waited_for(Run *run, gconstpointer data)
{
    const uint64_t younger = T0 + COLLECTOR_SECRETS_WAIT_NS;
    run_use_one(run);
    run->config.tls = COLLECTOR_TLS_KEYS;
    run_begin(run, 0, "boot-1");
    run_start(run);
    run_send_packets(run, 0, 1, T0, 0, 1);
    run_send_packets(run, 0, 1, younger, 1, 1);
    fake_node_heartbeat(run->nodes[0], younger + MILLI);
    run_wait_for_packets(run, 1);
    say_secrets(run->nodes[0]);
    fake_node_heartbeat(run->nodes[0], younger + COLLECTOR_SECRETS_WAIT_NS + MILLI);
    run_wait_for_packets(run, 2);
    run_stop(run);
    Content content = run_content(run);
    g_assert_cmpuint(content.secrets, ==, 1);
    g_assert_cmpuint(content.before_secrets, ==, 1);
    content_clear(&content);
}

static void test_unreachable(Run *run, gconstpointer data)
{
    run->config.connect_timeout_ns = 200 * MILLI;
    run_start(run);
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
    run_use_one(run);
    run->nodes[0] = fake_node_new(run->paths[0]);
    fake_node_finish(run->nodes[0], -EINVAL, "filter: syntax error near 'prot'", true);
    run->config.connect_timeout_ns = FOREVER_NS; /* it must not wait for that */
    run_start(run);
    g_thread_join(run->thread);
    g_assert_false(run->result);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_nonnull(strstr(run->error->message, "syntax error near 'prot'"));
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 1);
}

/* A node that does not know a mode of TLS, or may not, is asked for the lesser one, and that is
 * said; when it comes back, for all again. */
static void test_lesser_mode(Run *run, gconstpointer data)
{
    int status = GPOINTER_TO_INT(data);
    run_use_one(run);
    run->config.tls = COLLECTOR_TLS_AUTO;
    run_begin(run, 0, "boot-1");
    fake_node_refuse_mode(run->nodes[0], REMORA__V1__TLS_MODE__TLS_MODE_AUTO, status,
                          "TLS mode 2 is not known here");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "node-a: no plaintext of TLS");
    run_wait_for_note(run, "as it refuses that: TLS mode 2 is not known here");
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 2);
    fake_node_finish(run->nodes[0], -ECONNREFUSED, "going down", false);
    run_wait_for_note(run, "node-a is back");
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 4);
    run_stop(run);
    g_assert_true(run->result);
    g_assert_null(strstr(run->notes->str, "Cannot reach"));
}

/* Secrets alone are asked for once, and plaintext alone has nothing less. */
static void test_no_lesser_mode(Run *run, gconstpointer data)
{
    int mode = GPOINTER_TO_INT(data);
    run_use_one(run);
    run->config.tls =
        mode == REMORA__V1__TLS_MODE__TLS_MODE_KEYS ? COLLECTOR_TLS_KEYS : COLLECTOR_TLS_PLAINTEXT;
    run->nodes[0] = fake_node_new(run->paths[0]);
    fake_node_refuse_mode(run->nodes[0], (Remora__V1__TlsMode)mode, -EACCES, "not here");
    run->config.connect_timeout_ns = FOREVER_NS;
    run_start(run);
    g_thread_join(run->thread);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_nonnull(strstr(run->error->message, "not here"));
    g_assert_cmpuint(fake_node_calls(run->nodes[0]), ==, 1);
}

/* Of two nodes that do not work only the refusal is told, as it is what must be corrected. */
static void test_second_refused(Run *run, gconstpointer data)
{
    run->config.connect_timeout_ns = 500 * MILLI;
    run->nodes[1] = fake_node_new(run->paths[1]);
    fake_node_finish(run->nodes[1], -EINVAL, "syntax error in filter", true);
    run_start(run);
    g_thread_join(run->thread);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT);
    g_assert_true(g_str_has_prefix(run->error->message, run->endpoints[1]));
}

static void test_no_endpoint(Run *run, gconstpointer data)
{
    static const CollectorSink sink = {.write = run_on_write, .note = run_on_note};
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
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run->config.comments = true;
    run_start(run);
    run_send_packets(run, 0, 1, T0, 0, 5);
    run_send_packets(run, 1, 1, T0, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 10 * SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + 10 * SECOND);
    run_wait_for_packets(run, 10);

    run->nodes[1] = fake_node_free(run->nodes[1]);
    run_wait_for_note(run, "Lost the connection to node-b");
    /* The others are not held up, although the waiting time is an hour. */
    run_send_packets(run, 0, 1, T0 + 11 * SECOND, 5, 5);
    run_wait_for_packets(run, 15);

    /* The same interface id is another pod now. */
    run->nodes[1] = fake_node_new(run->paths[1]);
    fake_node_hello(run->nodes[1], "node-b", "boot-2");
    fake_node_pod(run->nodes[1], "pod-c", "10.3.0.1");
    fake_node_interface(run->nodes[1], 1, "uid-pod-c", "eth0");
    run_wait_for_note(run, "node-b is back");
    run_send_packets(run, 1, 1, T0 + 12 * SECOND, 105, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 20 * SECOND);
    run_wait_for_packets(run, 20);
    run_stop(run);
    g_assert_true(run->result);
    g_assert_nonnull(strstr(run->notes->str, "restarted"));
    Content content = run_content(run);
    g_assert_cmpuint(content.packets, ==, 20);
    g_assert_cmpuint(content.interfaces, ==, 2); /* it is the same node */
    g_assert_nonnull(strstr(content.comments->str, "node-b was away"));
    g_assert_nonnull(strstr(content.comments->str, "shop/pod-c -> external"));
    content_clear(&content);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.gaps, ==, 1);
}

static void test_silent_node(Run *run, gconstpointer data)
{
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run->config.max_wait_ns = 300 * MILLI;
    run_start(run);
    run_wait_for_note(run, "Connected to node-b"); /* which says no more */
    run_send_packets(run, 0, 1, T0, 0, 5);
    run_wait_for_packets(run, 5);
    run_wait_for_note(run, "node-b has told nothing for more than 0.3 s");
    /* It speaks at last: late, but not lost. */
    run_send_packets(run, 1, 1, T0 - SECOND, 100, 5);
    run_wait_for_packets(run, 10);
    run_stop(run);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.late, ==, 5);
    g_assert_cmpuint(stats.stalls, >=, 1);
    g_assert_cmpuint(stats.packets_written, ==, 10);
}

/* Whoever reads the output stands still for longer than a node may be silent: no node is to blame,
 * not even one whose message came in the meantime. */
static void test_reader_pauses(Run *run, gconstpointer data)
{
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "Connected to node-b");
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    g_usleep(200 * 1000); /* for it to be taken, and the next message to be asked for */
    g_mutex_lock(&run->lock);
    run->blocked = true;
    g_mutex_unlock(&run->lock);
    run_send_packets(run, 0, 1, T0, 0, 5);
    g_usleep(200 * 1000); /* for the write to begin */
    fake_node_heartbeat(run->nodes[1], T0 + 2 * SECOND);
    g_usleep(10500 * 1000);
    g_mutex_lock(&run->lock);
    run->blocked = false;
    g_cond_broadcast(&run->changed);
    g_mutex_unlock(&run->lock);
    run_wait_for_packets(run, 5);
    run_send_packets(run, 1, 1, T0 + 3 * SECOND, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + 4 * SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + 4 * SECOND);
    run_wait_for_packets(run, 10);
    run_stop(run);
    g_assert_null(strstr(run->notes->str, "Lost the connection"));
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.gaps, ==, 0);
}

static void test_reader_gone(Run *run, gconstpointer data)
{
    run_use_one(run);
    run_begin(run, 0, "boot-1");
    run->write_result = -EPIPE;
    run_start(run);
    g_thread_join(run->thread);
    g_assert_true(run->result);
    g_assert_no_error(run->error);
}

static void test_disk_full(Run *run, gconstpointer data)
{
    run_use_one(run);
    run_begin(run, 0, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    g_mutex_lock(&run->lock);
    run->write_result = -ENOSPC;
    g_mutex_unlock(&run->lock);
    run_send_packets(run, 0, 1, T0, 0, 3);
    g_thread_join(run->thread);
    g_assert_false(run->result);
    g_assert_error(run->error, COLLECTOR_ERROR, COLLECTOR_ERROR_WRITE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, DATA, FUNCTION) \
    g_test_add("/collector/" PATH, Run, (gconstpointer)(DATA), run_setup, FUNCTION, run_teardown)
    g_test_add_func("/collector/pauses", test_pauses);
    ADD("two-nodes", NULL, test_two_nodes);
    ADD("secrets-are-waited-for", NULL, test_secrets_are_waited_for);
    ADD("unreachable", NULL, test_unreachable);
    ADD("refused", NULL, test_refused);
    ADD("second-refused", NULL, test_second_refused);
    ADD("lesser-mode/unknown", GINT_TO_POINTER(-EINVAL), test_lesser_mode);
    ADD("lesser-mode/denied", GINT_TO_POINTER(-EACCES), test_lesser_mode);
    ADD("no-lesser-mode/keys", GINT_TO_POINTER(REMORA__V1__TLS_MODE__TLS_MODE_KEYS),
        test_no_lesser_mode);
    ADD("no-lesser-mode/plaintext", GINT_TO_POINTER(REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT),
        test_no_lesser_mode);
    ADD("no-endpoint", NULL, test_no_endpoint);
    ADD("restart", NULL, test_restart);
    ADD("silent-node", NULL, test_silent_node);
    ADD("reader-pauses", NULL, test_reader_pauses);
    ADD("reader-gone", NULL, test_reader_gone);
    ADD("disk-full", NULL, test_disk_full);
    return g_test_run();
}
