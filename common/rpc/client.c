// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/rpc/client.h"

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <errno.h>
#include <string.h>

struct RpcClient {
    grpc_completion_queue *queue;
    GThread *thread;
};

struct RpcChannel {
    RpcClient *client;
    char *endpoint; /* as the user wrote it */
    char *target;
    GMutex lock;
    grpc_channel *core; /* under the lock */
};

RpcClient *rpc_client_new(void)
{
    rpc_library_ref();
    RpcClient *client = g_new0(RpcClient, 1);
    client->queue = grpc_completion_queue_create_for_next(NULL);
    client->thread = g_thread_new("rpc-client", rpc_queue_run, client->queue);
    return client;
}

RpcClient *rpc_client_free(RpcClient *client)
{
    if (!client)
        return NULL;
    grpc_completion_queue_shutdown(client->queue);
    g_thread_join(client->thread);
    grpc_completion_queue_destroy(client->queue);
    g_free(client);
    rpc_library_unref();
    return NULL;
}

grpc_completion_queue *rpc_client_queue(RpcClient *client)
{
    return client->queue;
}

/* ---- Channels --------------------------------------------------------------------------------*/

static grpc_channel *core_new(const char *target)
{
    grpc_arg args[RPC_COMMON_ARGS_MAX + 9];
    size_t n = rpc_common_args(args);
    /* Retrying is the caller's; gRPC would also keep a copy of what was sent. */
    args[n++] = rpc_arg(GRPC_ARG_ENABLE_RETRIES, 0);
    /* $http_proxy would carry even what is meant for loopback out of the machine. */
    args[n++] = rpc_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    /* A channel of its own connection: others' failures and backoff are not its own. */
    args[n++] = rpc_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    args[n++] = rpc_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    args[n++] = rpc_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
    /* Despite its name, the time a connection may take to be made. */
    args[n++] = rpc_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
    args[n++] = rpc_arg(GRPC_ARG_DNS_ARES_QUERY_TIMEOUT_MS, 5000);
    /* The window that the probe finds is what a peer may have us hold while we do not read. One
     * that delays its answers to make it large comes up to here. */
    grpc_resource_quota *quota = grpc_resource_quota_create("remora");
    grpc_resource_quota_resize(quota, RPC_CHANNEL_MEMORY);
    args[n++] = (grpc_arg){.type = GRPC_ARG_POINTER,
                           .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
                           .value.pointer = {quota, grpc_resource_quota_arg_vtable()}};
    grpc_channel_args channel_args = {n, args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *core = grpc_channel_create(target, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    grpc_resource_quota_unref(quota);
    return core;
}

/* What plain gRPC to "localhost" relies on must not be up to a name server. Whoever serves it does
 * so on IPv4 too. */
static char *resolve_localhost(const RpcEndpoint *endpoint)
{
    if (endpoint->host && !g_ascii_strcasecmp(endpoint->host, "localhost"))
        return g_strdup_printf("127.0.0.1:%u", endpoint->port);
    return g_strdup(endpoint->target);
}

RpcChannel *rpc_channel_new(RpcClient *client, const char *endpoint, bool insecure, GError **error)
{
    RpcEndpoint parsed;
    if (!rpc_endpoint_parse(endpoint, &parsed, error))
        return NULL;
    RpcChannel *channel = NULL;
    if (rpc_endpoint_check_plain(&parsed, endpoint, insecure, error)) {
        channel = g_new0(RpcChannel, 1);
        channel->client = client;
        channel->endpoint = g_strdup(endpoint);
        channel->target = resolve_localhost(&parsed);
        channel->core = core_new(channel->target);
        g_mutex_init(&channel->lock);
    }
    rpc_endpoint_clear(&parsed);
    return channel;
}

RpcChannel *rpc_channel_free(RpcChannel *channel)
{
    if (!channel)
        return NULL;
    grpc_channel_destroy(channel->core);
    g_mutex_clear(&channel->lock);
    g_free(channel->endpoint);
    g_free(channel->target);
    g_free(channel);
    return NULL;
}

RpcClient *rpc_channel_client(RpcChannel *channel)
{
    return channel->client;
}

grpc_call *rpc_channel_begin(RpcChannel *channel, grpc_completion_queue *queue, const char *path,
                             gpr_timespec deadline)
{
    grpc_slice method = grpc_slice_from_copied_string(path);
    g_mutex_lock(&channel->lock);
    /* In this state gRPC would answer with the last error until its own backoff is over, and would
     * resolve names anew only every 30 s. */
    if (grpc_channel_check_connectivity_state(channel->core, 0) == GRPC_CHANNEL_TRANSIENT_FAILURE) {
        grpc_channel_destroy(channel->core);
        channel->core = core_new(channel->target);
    }
    grpc_call *call = grpc_channel_create_call(channel->core, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
                                               method, NULL, deadline, NULL);
    g_mutex_unlock(&channel->lock);
    grpc_slice_unref(method); /* the call has taken its own reference */
    return call;
}

/* ---- Unary calls -----------------------------------------------------------------------------*/

typedef struct Unary {
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *request, *response;
    grpc_status_code code;
    grpc_slice details;
} Unary;

static void unary_run(grpc_call *call, grpc_completion_queue *queue, Unary *unary)
{
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE},           {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
    };
    ops[1].data.send_message.send_message = unary->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &unary->initial;
    ops[4].data.recv_message.recv_message = &unary->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &unary->trailing;
    ops[5].data.recv_status_on_client.status = &unary->code;
    ops[5].data.recv_status_on_client.status_details = &unary->details;
    RpcEvent tag = {0};
    rpc_batch_start(call, ops, G_N_ELEMENTS(ops), &tag);
    /* The call's own deadline ends this. */
    grpc_completion_queue_pluck(queue, &tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static int unary_result(const Unary *unary, uint8_t **ret, size_t *ret_length, char **ret_text)
{
    int status = rpc_status_to_errno(unary->code);
    if (status < 0) {
        *ret_text = rpc_status_text(unary->code, (const char *)GRPC_SLICE_START_PTR(unary->details),
                                    GRPC_SLICE_LENGTH(unary->details));
        return status;
    }
    RpcFlat flat = {0};
    const uint8_t *data = NULL;
    int r =
        unary->response ? rpc_message_flatten(unary->response, &flat, &data, ret_length) : -EBADMSG;
    if (r < 0) {
        *ret_text = g_strdup("the answer is missing or not understood");
        return -EIO;
    }
    *ret = data == flat.data ? flat.data : g_memdup2(data, *ret_length);
    return 0;
}

static gpr_timespec deadline_in(uint64_t timeout_ns)
{
    if (timeout_ns > INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_nanos((int64_t)timeout_ns, GPR_TIMESPAN));
}

int rpc_channel_call(RpcChannel *channel, const char *path, const void *request, size_t length,
                     uint64_t timeout_ns, uint8_t **ret, size_t *ret_length, GError **error)
{
    /* A queue of its own: the calling thread does the work. */
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_call *call = rpc_channel_begin(channel, queue, path, deadline_in(timeout_ns));
    grpc_slice slice = grpc_slice_from_copied_buffer(request, length);
    Unary unary = {.request = grpc_raw_byte_buffer_create(&slice, 1)};
    grpc_slice_unref(slice);
    unary_run(call, queue, &unary);

    g_autofree char *text = NULL;
    int r = unary_result(&unary, ret, ret_length, &text);
    if (r < 0)
        g_set_error(error, RPC_ERROR, -r, "%s: %s", channel->endpoint, text);

    grpc_metadata_array_destroy(&unary.initial);
    grpc_metadata_array_destroy(&unary.trailing);
    grpc_byte_buffer_destroy(unary.request);
    grpc_byte_buffer_destroy(unary.response);
    grpc_slice_unref(unary.details);
    grpc_call_unref(call);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    return r;
}
