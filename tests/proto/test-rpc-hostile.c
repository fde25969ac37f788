// SPDX-License-Identifier: GPL-2.0-or-later
/* Peers that do what our own client and server never do; so this speaks to the gRPC core itself. */
#include "tests/proto/rpc-fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gpr_timespec patience(void)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(30, GPR_TIMESPAN));
}

static bool batch(grpc_completion_queue *queue, grpc_call *call, const grpc_op *ops, size_t n)
{
    int tag;
    g_assert_cmpint(grpc_call_start_batch(call, ops, n, &tag, NULL), ==, GRPC_CALL_OK);
    grpc_event event = grpc_completion_queue_pluck(queue, &tag, patience(), NULL);
    g_assert_cmpint(event.type, ==, GRPC_OP_COMPLETE);
    return event.success;
}

static grpc_byte_buffer *buffer_new(size_t length)
{
    grpc_slice slice = grpc_slice_malloc(length);
    memset(GRPC_SLICE_START_PTR(slice), 'x', length);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* Packs all messages. */
static const grpc_channel_args *gzip_args(void)
{
    static grpc_arg arg;
    static grpc_channel_args args = {1, &arg};
    arg = (grpc_arg){.type = GRPC_ARG_INTEGER,
                     .key = (char *)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
                     .value.integer = GRPC_COMPRESS_GZIP};
    return &args;
}

static void queue_free(grpc_completion_queue *queue)
{
    grpc_completion_queue_shutdown(queue);
    g_assert_cmpint(grpc_completion_queue_pluck(queue, NULL, patience(), NULL).type, ==,
                    GRPC_QUEUE_SHUTDOWN);
    grpc_completion_queue_destroy(queue);
}

/* ---- Clients ---------------------------------------------------------------------------------*/

static grpc_status_code call_raw(const char *endpoint, const char *path, size_t length,
                                 const grpc_channel_args *args)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(endpoint, credentials, args);
    grpc_channel_credentials_release(credentials);
    grpc_call *call =
        grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
                                 grpc_slice_from_copied_string(path), NULL, patience(), NULL);
    grpc_metadata_array initial = {0}, trailing = {0};
    grpc_byte_buffer *request = length ? buffer_new(length) : NULL, *answer = NULL;
    grpc_status_code code = GRPC_STATUS_OK;
    grpc_slice details = grpc_empty_slice();
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                      {.op = GRPC_OP_RECV_MESSAGE},          {.op = GRPC_OP_SEND_MESSAGE}};
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[2].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[2].data.recv_status_on_client.status = &code;
    ops[2].data.recv_status_on_client.status_details = &details;
    ops[4].data.recv_message.recv_message = &answer;
    ops[5].data.send_message.send_message = request;
    batch(queue, call, ops, request ? 6 : 5);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_slice_unref(details);
    grpc_byte_buffer_destroy(request);
    grpc_byte_buffer_destroy(answer);
    grpc_call_unref(call);
    grpc_channel_destroy(channel);
    queue_free(queue);
    return code;
}

static void test_clients(void)
{
    grpc_init();
    g_autofree char *endpoint = NULL;
    Service *service = service_new_tcp(&endpoint);
    static const char *const paths[] = {ECHO, MUTE};
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_assert_cmpint(call_raw(endpoint, paths[i], 0, NULL), ==, GRPC_STATUS_INVALID_ARGUMENT);
        g_assert_cmpint(call_raw(endpoint, paths[i], RPC_MESSAGE_MAX + 1, NULL), ==,
                        GRPC_STATUS_RESOURCE_EXHAUSTED);
        /* As small as it is on the wire, nobody may unpack it. */
        g_assert_cmpint(call_raw(endpoint, paths[i], 100000, gzip_args()), ==,
                        GRPC_STATUS_INVALID_ARGUMENT);
    }
    g_assert_cmpint(call_raw(endpoint, "/test/Nothing", 0, NULL), ==, GRPC_STATUS_UNIMPLEMENTED);
    /* None of these has become a stream. */
    g_assert_cmpuint(service_read(service, &service->opened), ==, 0);
    service_free(service);
    grpc_shutdown();
}

/* ---- Servers ---------------------------------------------------------------------------------*/

typedef struct Rogue {
    grpc_server *server;
    grpc_completion_queue *queue;
    char *endpoint;
} Rogue;

static void rogue_start(Rogue *rogue, const grpc_channel_args *args)
{
    grpc_init();
    rogue->server = grpc_server_create(args, NULL);
    rogue->queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_register_completion_queue(rogue->server, rogue->queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(rogue->server, "127.0.0.1:0", credentials);
    grpc_server_credentials_release(credentials);
    g_assert_cmpint(port, >, 0);
    rogue->endpoint = g_strdup_printf("127.0.0.1:%d", port);
    grpc_server_start(rogue->server);
}

static void rogue_stop(Rogue *rogue)
{
    int tag;
    grpc_server_shutdown_and_notify(rogue->server, rogue->queue, &tag);
    grpc_server_cancel_all_calls(rogue->server);
    grpc_completion_queue_pluck(rogue->queue, &tag, patience(), NULL);
    grpc_server_destroy(rogue->server);
    queue_free(rogue->queue);
    g_free(rogue->endpoint);
    grpc_shutdown();
}

/* Takes a call and sends one message. */
static void rogue_answer(Rogue *rogue, size_t length)
{
    grpc_byte_buffer *message = buffer_new(length);
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_call_details_init(&details);
    grpc_metadata_array_init(&metadata);
    int tag, cancelled;
    grpc_server_request_call(rogue->server, &call, &details, &metadata, rogue->queue, rogue->queue,
                             &tag);
    g_assert_cmpint(grpc_completion_queue_pluck(rogue->queue, &tag, patience(), NULL).type, ==,
                    GRPC_OP_COMPLETE);
    grpc_slice text = grpc_slice_from_static_string("");
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};
    ops[1].data.send_message.send_message = message;
    ops[2].data.send_status_from_server.status_details = &text;
    ops[3].data.recv_close_on_server.cancelled = &cancelled;
    batch(rogue->queue, call, ops, G_N_ELEMENTS(ops));
    grpc_byte_buffer_destroy(message);
    grpc_call_details_destroy(&details);
    grpc_metadata_array_destroy(&metadata);
    grpc_call_unref(call);
}

static void check_answer(const grpc_channel_args *args, size_t length, int status, const char *text)
{
    Rogue rogue;
    rogue_start(&rogue, args);
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, rogue.endpoint, false, NULL);
    Reader *reader = reader_open(channel, MUTE, "", 0);
    rogue_answer(&rogue, length);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, status);
    g_assert_cmpstr(reader->text, ==, text);
    g_assert_cmpuint(reader->messages, ==, 0);
    reader_free(reader);
    rpc_channel_free(channel);
    rpc_client_free(client);
    rogue_stop(&rogue);
}

static void test_servers(void)
{
    check_answer(NULL, RPC_MESSAGE_MAX + 1, -EMSGSIZE, "the message is larger than 4 MiB");
    check_answer(gzip_args(), 100000, -EIO,
                 "the peer sends compressed messages, which nobody asked for");
}

/* ---- Not gRPC at all -------------------------------------------------------------------------*/

static int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

static void test_garbage(void)
{
    g_autofree char *endpoint = NULL;
    Service *service = service_new_tcp(&endpoint);
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        "\x16\x03\x01\x02\xff",
    };
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(garbage); i++) {
        int fd = connect_to(rpc_server_port(service->server, 0));
        g_assert_cmpint(write(fd, garbage[i], strlen(garbage[i])), >, 0);
        shutdown(fd, SHUT_WR);
        /* The server hangs up. */
        char answer[4096];
        ssize_t n;
        do
            n = read(fd, answer, sizeof answer);
        while (n > 0);
        close(fd);
        call_echo(channel, "others are served");
    }
    rpc_channel_free(channel);
    rpc_client_free(client);
    service_free(service);
}

/* A server of HTTP/1 and one that hangs up: the text says what a person should look for. */
static gpointer answer_http1(gpointer data)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    int fd = accept4(GPOINTER_TO_INT(data), NULL, NULL, SOCK_CLOEXEC);
    char request[24];
    g_assert_cmpint(recv(fd, request, sizeof request, MSG_WAITALL), ==, sizeof request);
    g_assert_cmpint(write(fd, answer, strlen(answer)), ==, (ssize_t)strlen(answer));
    shutdown(fd, SHUT_WR);
    while (read(fd, request, sizeof request) > 0)
        ;
    close(fd);
    return NULL;
}

static void test_http1(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    GThread *thread = g_thread_new("http1", answer_http1, GINT_TO_POINTER(fd));
    g_autofree char *endpoint = g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
    Reader *reader = reader_open(channel, MUTE, "", 0);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, -ECONNREFUSED);
    g_assert_cmpstr(reader->text, ==, "the peer speaks HTTP/1, not gRPC");
    reader_free(reader);
    rpc_channel_free(channel);
    rpc_client_free(client);
    g_thread_join(thread);
    close(fd);
}

/* ---- gRPC's own log --------------------------------------------------------------------------*/

/* Wireshark shows whatever an extcap writes to stderr as its failure. */
static void test_silence(void)
{
    if (g_test_subprocess()) {
        RpcClient *client = rpc_client_new();
        gpr_log(GPR_ERROR, "chatter");
        gpr_log(GPR_ERROR, "assertion failed: %s", "last words");
        rpc_client_free(client);
        return;
    }
    g_unsetenv("GRPC_VERBOSITY");
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("*gRPC: assertion failed: last words*");
    g_test_trap_assert_stderr_unmatched("*chatter*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/hostile/clients", test_clients);
    g_test_add_func("/rpc/hostile/servers", test_servers);
    g_test_add_func("/rpc/hostile/garbage", test_garbage);
    g_test_add_func("/rpc/hostile/http1", test_http1);
    g_test_add_func("/rpc/hostile/silence", test_silence);
    return g_test_run();
}
