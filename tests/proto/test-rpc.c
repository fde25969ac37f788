// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls between a server and a client that both mean well. */
#include "tests/proto/rpc-fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define SECOND 1000000000ull

typedef struct Link {
    Service *service;
    RpcClient *client;
    RpcChannel *channel;
} Link;

static void link_open(Link *link, const void *userdata)
{
    g_autofree char *endpoint = NULL;
    link->service = service_new_tcp(&endpoint);
    link->client = rpc_client_new();
    link->channel = rpc_channel_new(link->client, endpoint, false, NULL);
    g_assert_nonnull(link->channel);
}

static void link_close(Link *link, const void *userdata)
{
    rpc_channel_free(link->channel);
    rpc_client_free(link->client);
    service_free(link->service);
}

static Reader *count(Link *link, uint32_t messages, uint32_t length)
{
    const CountRequest request = {messages, length};
    return reader_open(link->channel, COUNT, &request, sizeof request);
}

static void test_echo(Link *link, const void *userdata)
{
    static const size_t lengths[] = {0, 1, 300000, RPC_MESSAGE_MAX};
    g_autofree uint8_t *request = g_malloc(RPC_MESSAGE_MAX);
    for (size_t i = 0; i < RPC_MESSAGE_MAX; i++)
        request[i] = (uint8_t)(i * 31 + (i >> 8));
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree uint8_t *answer = NULL;
        size_t length;
        int r = rpc_channel_call(link->channel, ECHO, request, lengths[i], 30 * SECOND, &answer,
                                 &length, &error);
        g_assert_no_error(error);
        g_assert_cmpint(r, ==, 0);
        g_assert_cmpmem(answer, length, request, lengths[i]);
    }
}

static void check_failure(Link *link, const char *path, const void *request, size_t length,
                          int expected, const char *text)
{
    g_autoptr(GError) error = NULL;
    uint8_t *answer;
    size_t answer_length;
    int r = rpc_channel_call(link->channel, path, request, length, 30 * SECOND, &answer,
                             &answer_length, &error);
    g_assert_cmpint(r, ==, expected);
    g_assert_error(error, RPC_ERROR, -expected);
    if (!strstr(error->message, text))
        g_error("\"%s\" does not tell \"%s\"", error->message, text);
}

static void test_statuses(Link *link, const void *userdata)
{
    static const int statuses[] = {ECANCELED, EINVAL, ETIMEDOUT, ENOENT,       EACCES,
                                   EMSGSIZE,  EPERM,  ENOSYS,    ECONNREFUSED, EIO};
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        const char request[] = {(char)statuses[i]};
        check_failure(link, FAIL, request, 1, -statuses[i], "127.0.0.1:");
    }
    check_failure(link, FAIL, "\x02no such pod", 12, -ENOENT, ": no such pod");
    /* Anything else is an inner error; what a peer says cannot garble a terminal. */
    check_failure(link, FAIL, "\x0c\xff line\n\033[2J", 12, -EIO, "\xef\xbf\xbd line  [2J");
}

static void test_long_text(Link *link, const void *userdata)
{
    char request[6000];
    memset(request, 'x', sizeof request);
    request[0] = EINVAL;
    check_failure(link, FAIL, request, sizeof request, -EINVAL, "xxx");
}

static void test_unknown_method(Link *link, const void *userdata)
{
    check_failure(link, "/test/Nothing", "", 0, -ENOSYS, "does not know the method");
}

static void test_too_large(Link *link, const void *userdata)
{
    g_autofree char *request = g_malloc0(RPC_MESSAGE_MAX + 1);
    check_failure(link, ECHO, request, RPC_MESSAGE_MAX + 1, -EMSGSIZE, "larger than 4 MiB");
    check_failure(link, BIG, "", 0, -EMSGSIZE, "as it must");
    call_echo(link->channel, "still there");
}

static void test_deadline(Link *link, const void *userdata)
{
    g_autoptr(GError) error = NULL;
    uint8_t *answer;
    size_t length;
    int r = rpc_channel_call(link->channel, MUTE, "", 0, SECOND / 20, &answer, &length, &error);
    g_assert_cmpint(r, ==, -ETIMEDOUT);
    g_assert_error(error, RPC_ERROR, ETIMEDOUT);
    g_assert_true(g_str_has_suffix(error->message, ": no answer in time"));
    service_wait(link->service, &link->service->closed, 1);
    g_assert_cmpint(link->service->closed_status, ==, -ECANCELED);
}

static void test_thousand(Link *link, const void *userdata)
{
    Reader *reader = count(link, 1000, 3000);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, 0);
    g_assert_cmpuint(reader->messages, ==, 1000);
    g_assert_cmpuint(reader->bytes, ==, 3000000);
    reader_free(reader);
    service_wait(link->service, &link->service->closed, 1);
    g_assert_cmpint(link->service->closed_status, ==, 0);
}

static void test_empty_stream(Link *link, const void *userdata)
{
    Reader *reader = count(link, 0, 4);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, 0);
    g_assert_cmpuint(reader->messages, ==, 0);
    reader_free(reader);
}

static void test_back_pressure(Link *link, const void *userdata)
{
    enum { LENGTH = 256 * 1024, HELD = 100, WINDOW = RPC_CHANNEL_MEMORY / LENGTH };
    /* What the kernel holds of a connection at its limits (net.ipv4.tcp_wmem and tcp_rmem: 4 and 6
     * MiB). */
    enum { SOCKETS = 10 * 1024 * 1024 / LENGTH };
    const CountRequest request = {UINT32_MAX, LENGTH};
    Reader *reader = reader_open_held(link->channel, COUNT, &request, sizeof request, HELD);
    reader_wait_messages(reader, HELD);
    /* Each call is a round trip on the same connection, which could carry some messages. */
    for (int i = 0; i < 3000; i++)
        call_echo(link->channel, "tick");
    g_mutex_lock(&reader->lock);
    g_assert_cmpuint(reader->messages, ==, HELD);
    g_mutex_unlock(&reader->lock);
    /* The window, the sockets, one message begun and one waiting. */
    unsigned sent = service_read(link->service, &link->service->sent);
    g_test_message("%u messages of 256 KiB are under way", sent - HELD);
    g_assert_cmpuint(sent, <=, HELD + WINDOW + SOCKETS + 2);

    reader_resume(reader);
    rpc_stream_read(reader->stream); /* asking twice is asking once */
    reader_wait_messages(reader, 2 * HELD);
    rpc_stream_cancel(reader->stream);
    reader_free(reader);
}

static void test_cancel_by_reader(Link *link, const void *userdata)
{
    Reader *reader = count(link, UINT32_MAX, 100000);
    reader_wait_messages(reader, 10);
    rpc_stream_cancel(reader->stream);
    rpc_stream_cancel(reader->stream);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, -ECANCELED);
    g_assert_cmpstr(reader->text, ==, "cancelled");
    rpc_stream_cancel(reader->stream);
    rpc_stream_read(reader->stream);
    reader_free(reader);
    service_wait(link->service, &link->service->closed, 1);
    g_assert_cmpint(link->service->closed_status, ==, -ECANCELED);
}

/* Messages wait at the reader, which does not want them, and the writer is blocked. */
static void test_cancel_while_held(Link *link, const void *userdata)
{
    const CountRequest request = {UINT32_MAX, 1000000};
    Reader *reader = reader_open_held(link->channel, COUNT, &request, sizeof request, 1);
    reader_wait_messages(reader, 1);
    rpc_stream_cancel(reader->stream);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, -ECANCELED);
    reader_free(reader);
    service_wait(link->service, &link->service->closed, 1);
}

static void test_cancel_at_once(Link *link, const void *userdata)
{
    for (int i = 0; i < 200; i++) {
        Reader *reader = count(link, UINT32_MAX, 1000);
        rpc_stream_cancel(reader->stream);
        reader_wait_closed(reader);
        g_assert_cmpint(reader->status, ==, -ECANCELED);
        reader_free(reader);
    }
    call_echo(link->channel, "still there");
}

static void test_server_stops(Link *link, const void *userdata)
{
    Reader *mute = reader_open(link->channel, MUTE, "", 0);
    Reader *busy = count(link, UINT32_MAX, 300000);
    const CountRequest request = {UINT32_MAX, 300000};
    Reader *held = reader_open_held(link->channel, COUNT, &request, sizeof request, 1);
    reader_wait_messages(busy, 10);
    reader_wait_messages(held, 1);
    service_wait(link->service, &link->service->opened, 3);
    link->service = service_free(link->service);
    /* What has arrived is there to be read before the end. */
    reader_resume(held);
    Reader *readers[] = {mute, busy, held};
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
        reader_wait_closed(readers[i]);
        g_assert_cmpint(readers[i]->status, ==, -ECONNREFUSED);
        g_assert_cmpstr(readers[i]->text, !=, "");
        reader_free(readers[i]);
    }
    g_autofree char *endpoint = NULL;
    link->service = service_new_tcp(&endpoint);
}

static void test_many_streams(Link *link, const void *userdata)
{
    enum { STREAMS = 200, MESSAGES = 50 };
    Reader *readers[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        readers[i] = count(link, MESSAGES, 2000);
    for (int i = 0; i < STREAMS; i++) {
        reader_wait_closed(readers[i]);
        g_assert_cmpint(readers[i]->status, ==, 0);
        g_assert_cmpuint(readers[i]->messages, ==, MESSAGES);
        reader_free(readers[i]);
    }
}

/* ---- Calls that outlive their callbacks, and are served by another thread
 * -----------------------*/

typedef struct Pump {
    GMutex lock;
    GCond changed;
    RpcCall *call;
    unsigned ready, closed;
} Pump;

static void pump_ready(RpcCall *call, void *userdata)
{
    Pump *pump = userdata;
    g_mutex_lock(&pump->lock);
    pump->ready++;
    g_cond_broadcast(&pump->changed);
    g_mutex_unlock(&pump->lock);
}

static void pump_closed(RpcCall *call, int status, void *userdata)
{
    Pump *pump = userdata;
    g_mutex_lock(&pump->lock);
    pump->closed++;
    g_cond_broadcast(&pump->changed);
    g_mutex_unlock(&pump->lock);
}

static void pump_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    static const RpcCallHandlers handlers = {pump_ready, pump_closed};
    Pump *pump = userdata;
    rpc_call_set_handlers(call, &handlers, pump);
    g_assert_true(g_str_has_prefix(rpc_call_peer(call), "unix:"));
    g_mutex_lock(&pump->lock);
    pump->call = rpc_call_ref(call);
    pump->ready = 1;
    g_cond_broadcast(&pump->changed);
    g_mutex_unlock(&pump->lock);
}

static RpcServer *pump_serve(Pump *pump, const char *endpoint)
{
    static const RpcMethod methods[] = {{"/test/Pump", pump_start}, {NULL, NULL}};
    const char *endpoints[] = {endpoint, NULL};
    g_mutex_init(&pump->lock);
    g_cond_init(&pump->changed);
    RpcServer *server = rpc_server_new(endpoints, false, methods, pump, NULL);
    g_assert_nonnull(server);
    return server;
}

static void test_other_thread(void)
{
    g_autofree char *dir = g_dir_make_tmp("remora-XXXXXX", NULL);
    g_autofree char *endpoint = g_strdup_printf("unix:%s/socket", dir);
    Pump pump = {0};
    RpcServer *server = pump_serve(&pump, endpoint);
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
    Reader *reader = reader_open(channel, "/test/Pump", "", 0);
    for (uint32_t i = 0; i < 2000; i++) {
        g_mutex_lock(&pump.lock);
        while (!pump.ready)
            g_cond_wait(&pump.changed, &pump.lock);
        pump.ready--;
        g_mutex_unlock(&pump.lock);
        const RpcBytes piece = {g_memdup2(&i, sizeof i), sizeof i, NULL, NULL};
        g_assert_cmpint(rpc_call_send(pump.call, &piece, 1), ==, 0);
        g_free((void *)piece.data);
    }
    /* The last message is still under way, the status waits for it. */
    rpc_call_finish(pump.call, -EPERM, "enough");
    reader_wait_closed(reader);
    g_assert_cmpuint(reader->messages, ==, 2000);
    g_assert_cmpint(reader->status, ==, -EPERM);
    g_assert_cmpstr(reader->text, ==, "enough");
    reader_free(reader);
    rpc_channel_free(channel);
    rpc_client_free(client);
    rpc_server_free(server);
    g_assert_cmpuint(pump.closed, ==, 1);

    /* A reference outlives call and server. */
    const RpcBytes late = {"", 0, g_free, g_malloc(1)};
    g_assert_cmpint(rpc_call_send(pump.call, &late, 1), ==, -EPIPE);
    rpc_call_finish(pump.call, 0, NULL);
    rpc_call_unref(pump.call);
    g_assert_cmpint(g_rmdir(dir), ==, 0); /* the socket is gone */
}

/* One thread sends and finishes while the server stops. */
static gpointer hammer(gpointer data)
{
    Pump *pump = data;
    uint32_t number = 0;
    int r;
    do {
        const RpcBytes piece = {&number, sizeof number, NULL, NULL};
        r = rpc_call_send(pump->call, &piece, 1);
        number += r == 0;
    } while (r != -EPIPE);
    rpc_call_finish(pump->call, 0, NULL);
    return NULL;
}

static void test_stop_while_sending(void)
{
    g_autofree char *dir = g_dir_make_tmp("remora-XXXXXX", NULL);
    g_autofree char *endpoint = g_strdup_printf("unix:%s/socket", dir);
    RpcClient *client = rpc_client_new();
    for (int i = 0; i < 20; i++) {
        Pump pump = {0};
        RpcServer *server = pump_serve(&pump, endpoint);
        RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
        Reader *reader = reader_open(channel, "/test/Pump", "", 0);
        g_mutex_lock(&pump.lock);
        while (!pump.call)
            g_cond_wait(&pump.changed, &pump.lock);
        g_mutex_unlock(&pump.lock);
        GThread *thread = g_thread_new("hammer", hammer, &pump);
        reader_wait_messages(reader, 10);
        rpc_server_free(server);
        g_thread_join(thread);
        g_assert_cmpuint(pump.closed, ==, 1);
        rpc_call_unref(pump.call);
        reader_free(reader);
        rpc_channel_free(channel);
    }
    rpc_client_free(client);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    static const struct {
        const char *name;
        void (*run)(Link *link, const void *userdata);
    } tests[] = {
        {"/rpc/unary/echo", test_echo},
        {"/rpc/unary/statuses", test_statuses},
        {"/rpc/unary/long-text", test_long_text},
        {"/rpc/unary/unknown-method", test_unknown_method},
        {"/rpc/unary/too-large", test_too_large},
        {"/rpc/unary/deadline", test_deadline},
        {"/rpc/stream/thousand", test_thousand},
        {"/rpc/stream/empty", test_empty_stream},
        {"/rpc/stream/back-pressure", test_back_pressure},
        {"/rpc/stream/cancel-by-reader", test_cancel_by_reader},
        {"/rpc/stream/cancel-while-held", test_cancel_while_held},
        {"/rpc/stream/cancel-at-once", test_cancel_at_once},
        {"/rpc/stream/server-stops", test_server_stops},
        {"/rpc/stream/many", test_many_streams},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Link, NULL, link_open, tests[i].run, link_close);
    g_test_add_func("/rpc/stream/other-thread", test_other_thread);
    g_test_add_func("/rpc/stream/stop-while-sending", test_stop_while_sending);
    return g_test_run();
}
