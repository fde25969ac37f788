// SPDX-License-Identifier: GPL-2.0-or-later
/* The HTTP service in front of a node with fake source and targets. */
#include "node-capture/server/http.h"

#include <gio/gio.h>
#include <string.h>

#include "helpers.h"
#include "node-capture/source/fake.h"
#include "node-capture/targets/fake.h"

static const NodeInfo info = {"test", "n1", "0", "boot", "machine", "os", 1};

typedef struct Fixture {
    Node *node;
    Targets *targets;
    Http *http;
} Fixture;

static void set_up(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    fixture->node = node_new(&info, selector_new(NULL, NULL));
    Source *source = source_fake_new(&capture_source_callbacks, node_capture(fixture->node));
    fixture->targets = targets_fake_new(&node_targets_callbacks, fixture->node);
    node_start(fixture->node, source, fixture->targets);
    fixture->http = http_new("127.0.0.1:0", fixture->node, &info, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *fixture, const void *data)
{
    http_free(fixture->http);
    node_free(fixture->node);
}

/* All that comes until the service closes the connection. */
static char *ask(const Fixture *fixture, const char *method, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnection) connection = g_socket_client_connect_to_host(
        client, "127.0.0.1", (guint16)http_port(fixture->http), NULL, &error);
    g_assert_no_error(error);
    g_autofree char *request =
        g_strdup_printf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    GIOStream *stream = G_IO_STREAM(connection);
    g_output_stream_write_all(g_io_stream_get_output_stream(stream), request, strlen(request), NULL,
                              NULL, &error);
    g_assert_no_error(error);
    char buffer[32768];
    gsize length = 0;
    g_input_stream_read_all(g_io_stream_get_input_stream(stream), buffer, sizeof(buffer) - 1,
                            &length, NULL, &error);
    g_assert_no_error(error);
    return g_strndup(buffer, length);
}

static void check(const Fixture *fixture, const char *method, const char *path, unsigned status)
{
    g_autofree char *answer = ask(fixture, method, path);
    g_autofree char *line = g_strdup_printf("HTTP/1.1 %u ", status);
    g_assert_cmpstr(answer, !=, "");
    answer[MIN(strlen(answer), strlen(line))] = '\0';
    g_assert_cmpstr(answer, ==, line);
}

static void test_paths(Fixture *fixture, const void *data)
{
    check(fixture, "GET", "/metrics", 200);
    check(fixture, "HEAD", "/metrics", 200);
    check(fixture, "GET", "/", 404);
    check(fixture, "GET", "/metrics/", 404);
    check(fixture, "POST", "/nothing", 404);
    check(fixture, "POST", "/metrics", 405);
    check(fixture, "DELETE", "/healthz", 405);
}

/* Alive from the start, ready with the first inventory: commands of readers wait for that, too. */
static void test_ready(Fixture *fixture, const void *data)
{
    check(fixture, "GET", "/healthz", 200);
    check(fixture, "GET", "/readyz", 503);
    targets_fake_synced(fixture->targets);
    node_targets_ready(fixture->node);
    check(fixture, "GET", "/readyz", 200);
}

/* A capture thread that has ended stands for one that hangs. */
static void test_stuck(Fixture *fixture, const void *data)
{
    node_stop(fixture->node, "the test wants it");
    check(fixture, "GET", "/healthz", 503);
    check(fixture, "GET", "/metrics", 503);
    check(fixture, "GET", "/nothing", 404);
}

static void test_bad_addresses(Fixture *fixture, const void *data)
{
    static const char *const bad[] = {"", "127.0.0.1", "[::1]", ":", "127.0.0.1:x", "::1:70000"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", bad[i]);
        g_assert_null(http_new(bad[i], fixture->node, &info, &error));
        g_assert_nonnull(error);
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *taken = g_strdup_printf("127.0.0.1:%u", http_port(fixture->http));
    g_assert_null(http_new(taken, fixture->node, &info, &error));
    g_assert_nonnull(strstr(error->message, "another program"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/node/http/paths", Fixture, NULL, set_up, test_paths, tear_down);
    g_test_add("/node/http/ready", Fixture, NULL, set_up, test_ready, tear_down);
    g_test_add("/node/http/stuck", Fixture, NULL, set_up, test_stuck, tear_down);
    g_test_add("/node/http/bad-addresses", Fixture, NULL, set_up, test_bad_addresses, tear_down);
    return g_test_run();
}
