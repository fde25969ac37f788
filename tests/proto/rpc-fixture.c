// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/proto/rpc-fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_S = 30 };

static void wait_for(GMutex *lock, GCond *changed, const unsigned *value, unsigned at_least)
{
    gint64 until = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
    while (*value < at_least)
        if (!g_cond_wait_until(changed, lock, until))
            g_error("waited in vain for %u, have %u", at_least, *value);
}

/* ---- The service -----------------------------------------------------------------------------*/

typedef struct Counter {
    Service *service;
    CountRequest request;
    uint32_t next;
} Counter;

typedef struct Message {
    Service *service;
    uint8_t bytes[];
} Message;

static void message_release(void *owner)
{
    Message *message = owner;
    Service *service = message->service;
    g_free(message);
    g_mutex_lock(&service->lock);
    service->released++;
    g_cond_broadcast(&service->changed);
    g_mutex_unlock(&service->lock);
}

static void count_ready(RpcCall *call, void *userdata)
{
    Counter *counter = userdata;
    Service *service = counter->service;
    if (counter->next == counter->request.messages) {
        rpc_call_finish(call, 0, NULL);
        return;
    }
    Message *message = g_malloc(sizeof *message + counter->request.length);
    message->service = service;
    memcpy(message->bytes, &counter->next, 4);
    memset(message->bytes + 4, (int)(counter->next & 0xff), counter->request.length - 4);
    counter->next++;
    g_mutex_lock(&service->lock);
    service->sent++;
    g_mutex_unlock(&service->lock);
    /* In three pieces, one of them empty and one to be copied. */
    const RpcBytes pieces[] = {
        {.data = message->bytes, .length = 4},
        {.data = "", .length = 0},
        {message->bytes + 4, counter->request.length - 4, message_release, message},
    };
    g_assert_cmpint(rpc_call_send(call, pieces, G_N_ELEMENTS(pieces)), ==, 0);
}

static void stream_closed(Service *service, int status)
{
    g_mutex_lock(&service->lock);
    service->closed++;
    service->closed_status = status;
    g_cond_broadcast(&service->changed);
    g_mutex_unlock(&service->lock);
}

static void count_closed(RpcCall *call, int status, void *userdata)
{
    Counter *counter = userdata;
    stream_closed(counter->service, status);
    g_free(counter);
}

static void stream_opened(Service *service)
{
    g_mutex_lock(&service->lock);
    service->opened++;
    g_cond_broadcast(&service->changed);
    g_mutex_unlock(&service->lock);
}

static void count_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    static const RpcCallHandlers handlers = {count_ready, count_closed};
    Counter *counter = g_new0(Counter, 1);
    counter->service = userdata;
    g_assert_cmpuint(length, ==, sizeof counter->request);
    memcpy(&counter->request, request, length);
    rpc_call_set_handlers(call, &handlers, counter);
    stream_opened(userdata);
    count_ready(call, counter);
}

static void mute_closed(RpcCall *call, int status, void *userdata)
{
    stream_closed(userdata, status);
}

static void mute_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    static const RpcCallHandlers handlers = {NULL, mute_closed};
    rpc_call_set_handlers(call, &handlers, userdata);
    stream_opened(userdata);
}

static void echo_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    const RpcBytes piece = {.data = request, .length = length};
    g_assert_cmpint(rpc_call_send(call, &piece, 1), ==, 0);
    /* One message at a time; the refused one is given back, or the leak checker tells. */
    const RpcBytes second = {"", 0, g_free, g_malloc(1)};
    g_assert_cmpint(rpc_call_send(call, &second, 1), ==, -EAGAIN);
    rpc_call_finish(call, 0, NULL);
    const RpcBytes third = {"", 0, g_free, g_malloc(1)};
    /* Over is over. */
    g_assert_cmpint(rpc_call_send(call, &third, 1), ==, -EPIPE);
    rpc_call_finish(call, -EINVAL, "too late");
}

static void fail_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    g_assert_cmpuint(length, >=, 1);
    g_autofree char *text = g_strndup((const char *)request + 1, length - 1);
    rpc_call_finish(call, -request[0], length > 1 ? text : NULL);
}

static void big_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    g_autofree uint8_t *bytes = g_malloc0(RPC_MESSAGE_MAX);
    const RpcBytes pieces[] = {{bytes, RPC_MESSAGE_MAX, NULL, NULL}, {bytes, 1, NULL, NULL}};
    int r = rpc_call_send(call, pieces, 2);
    rpc_call_finish(call, r, "as it must");
}

Service *service_new(const char *endpoint)
{
    static const RpcMethod methods[] = {{ECHO, echo_start},   {FAIL, fail_start}, {BIG, big_start},
                                        {COUNT, count_start}, {MUTE, mute_start}, {NULL, NULL}};
    Service *service = g_new0(Service, 1);
    g_mutex_init(&service->lock);
    g_cond_init(&service->changed);
    const char *endpoints[] = {endpoint, NULL};
    g_autoptr(GError) error = NULL;
    service->server = rpc_server_new(endpoints, false, methods, service, &error);
    g_assert_no_error(error);
    g_assert_nonnull(service->server);
    return service;
}

Service *service_new_tcp(char **ret_endpoint)
{
    Service *service = service_new("127.0.0.1:0");
    *ret_endpoint = g_strdup_printf("127.0.0.1:%u", rpc_server_port(service->server, 0));
    return service;
}

Service *service_free(Service *service)
{
    rpc_server_free(service->server);
    /* Whatever was handed over has come back, and each stream has been closed. */
    g_assert_cmpuint(service->sent, ==, service->released);
    g_assert_cmpuint(service->opened, ==, service->closed);
    g_mutex_clear(&service->lock);
    g_cond_clear(&service->changed);
    g_free(service);
    return NULL;
}

void service_wait(Service *service, const unsigned *value, unsigned expected)
{
    g_mutex_lock(&service->lock);
    wait_for(&service->lock, &service->changed, value, expected);
    g_mutex_unlock(&service->lock);
}

unsigned service_read(Service *service, const unsigned *value)
{
    g_mutex_lock(&service->lock);
    unsigned copy = *value;
    g_mutex_unlock(&service->lock);
    return copy;
}

/* ---- The reader ------------------------------------------------------------------------------*/

static void reader_message(RpcStream *stream, const uint8_t *data, size_t length, void *userdata)
{
    Reader *reader = userdata;
    uint32_t number;
    g_assert_cmpuint(length, >=, sizeof number);
    memcpy(&number, data, sizeof number);
    g_mutex_lock(&reader->lock);
    g_assert_cmpuint(reader->closed, ==, 0);
    g_assert_cmpuint(number, ==, reader->messages);
    for (size_t i = sizeof number; i < length; i++)
        if (data[i] != (number & 0xff))
            g_error("byte %zu of message %u is %u", i, number, data[i]);
    reader->messages++;
    reader->bytes += length;
    bool hold = reader->messages >= reader->hold_at;
    g_cond_broadcast(&reader->changed);
    g_mutex_unlock(&reader->lock);
    if (!hold)
        rpc_stream_read(stream);
}

static void reader_closed(RpcStream *stream, int status, const char *text, void *userdata)
{
    Reader *reader = userdata;
    g_mutex_lock(&reader->lock);
    g_assert_cmpuint(reader->closed, ==, 0);
    reader->closed++;
    reader->status = status;
    reader->text = g_strdup(text);
    g_cond_broadcast(&reader->changed);
    g_mutex_unlock(&reader->lock);
}

Reader *reader_open_held(RpcChannel *channel, const char *path, const void *request, size_t length,
                         unsigned hold_at)
{
    static const RpcStreamHandlers handlers = {.message = reader_message, .closed = reader_closed};
    Reader *reader = g_new0(Reader, 1);
    reader->hold_at = hold_at;
    g_mutex_init(&reader->lock);
    g_cond_init(&reader->changed);
    reader->stream = rpc_stream_open(channel, path, request, length, &handlers, reader);
    return reader;
}

Reader *reader_open(RpcChannel *channel, const char *path, const void *request, size_t length)
{
    return reader_open_held(channel, path, request, length, UINT_MAX);
}

void reader_resume(Reader *reader)
{
    g_mutex_lock(&reader->lock);
    reader->hold_at = UINT_MAX;
    g_mutex_unlock(&reader->lock);
    rpc_stream_read(reader->stream);
}

void reader_wait_messages(Reader *reader, unsigned at_least)
{
    gint64 until = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
    g_mutex_lock(&reader->lock);
    while (reader->messages < at_least)
        if (reader->closed || !g_cond_wait_until(&reader->changed, &reader->lock, until))
            g_error("%u messages have come of %u; the stream %s", reader->messages, at_least,
                    reader->closed ? reader->text : "is open");
    g_mutex_unlock(&reader->lock);
}

void reader_wait_closed(Reader *reader)
{
    g_mutex_lock(&reader->lock);
    wait_for(&reader->lock, &reader->changed, &reader->closed, 1);
    g_mutex_unlock(&reader->lock);
}

Reader *reader_free(Reader *reader)
{
    reader_wait_closed(reader);
    rpc_stream_free(reader->stream);
    g_free(reader->text);
    g_mutex_clear(&reader->lock);
    g_cond_clear(&reader->changed);
    g_free(reader);
    return NULL;
}

void call_echo(RpcChannel *channel, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *answer = NULL;
    size_t length = 0;
    int r = rpc_channel_call(channel, ECHO, text, strlen(text), PATIENCE_S * 1000000000ull, &answer,
                             &length, &error);
    g_assert_no_error(error);
    g_assert_cmpint(r, ==, 0);
    g_assert_cmpmem(answer, length, text, strlen(text));
}

char *free_endpoint(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    close(fd);
    return g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
}
