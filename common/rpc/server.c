// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/rpc/core.h"

#include <grpc/support/alloc.h>
#include <errno.h>
#include <string.h>

enum { STATUS_TEXT_MAX = 1024 }; /* a status travels in a header */

struct RpcServer {
    grpc_server *core;
    grpc_completion_queue *queue;
    GThread *thread;
    const RpcMethod *methods;
    void *userdata;
    GArray *ports; /* of unsigned, one for each endpoint */

    /* The call that is to come next; the thread's. */
    grpc_call *next;
    grpc_call_details next_details;
    grpc_metadata_array next_metadata;
    RpcEvent on_call, on_shutdown;
    RpcFlat flat;

    GMutex lock; /* for what follows */
    GCond changed;
    GHashTable *calls; /* RpcCall whose batches are not all done */
    bool stopping, stopped;
};

struct RpcCall {
    gatomicrefcount references;
    RpcServer *server;
    grpc_call *core; /* valid as long as batches > 0 */
    char *peer;
    const RpcMethod *method;

    /* The thread's. */
    RpcCallHandlers handlers;
    void *userdata;
    grpc_byte_buffer *request, *message;
    int cancelled;
    RpcEvent on_request, on_sent, on_finished, on_closed;

    GMutex lock;      /* for what follows; never held while gRPC or a handler runs */
    unsigned batches; /* under way */
    bool metadata_sent, sending;
    bool finished; /* rpc_call_finish() was called */
    bool over;     /* the transport has closed the call */
    int status;
    grpc_slice text;
};

/* ---- Calls -----------------------------------------------------------------------------------*/

RpcCall *rpc_call_ref(RpcCall *call)
{
    g_atomic_ref_count_inc(&call->references);
    return call;
}

RpcCall *rpc_call_unref(RpcCall *call)
{
    if (call && g_atomic_ref_count_dec(&call->references)) {
        gpr_free(call->peer);
        grpc_slice_unref(call->text);
        g_mutex_clear(&call->lock);
        g_free(call);
    }
    return NULL;
}

void rpc_call_set_handlers(RpcCall *call, const RpcCallHandlers *handlers, void *userdata)
{
    call->handlers = *handlers;
    call->userdata = userdata;
}

const char *rpc_call_peer(const RpcCall *call)
{
    return call->peer;
}

/* Nothing is started for a call any more after its last batch, so the server may go. */
static void batch_done(RpcCall *call)
{
    g_mutex_lock(&call->lock);
    bool last = --call->batches == 0;
    g_mutex_unlock(&call->lock);
    if (!last)
        return;
    RpcServer *server = call->server;
    grpc_call_unref(g_steal_pointer(&call->core));
    g_mutex_lock(&server->lock);
    g_hash_table_remove(server->calls, call);
    g_cond_broadcast(&server->changed);
    g_mutex_unlock(&server->lock);
    rpc_call_unref(call);
}

/* The ops that a call's first answer needs in front of it. Under the lock. */
static size_t metadata_op(RpcCall *call, grpc_op *ops)
{
    if (call->metadata_sent)
        return 0;
    call->metadata_sent = true;
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    return 1;
}

static size_t status_ops(RpcCall *call, grpc_op *ops)
{
    size_t n = metadata_op(call, ops);
    ops[n] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[n].data.send_status_from_server.status = rpc_status_from_errno(call->status);
    ops[n].data.send_status_from_server.status_details = &call->text;
    call->batches++;
    return n + 1;
}

static void bytes_release(const RpcBytes *pieces, size_t n_pieces)
{
    for (size_t i = 0; i < n_pieces; i++)
        if (pieces[i].release)
            pieces[i].release(pieces[i].owner);
}

static grpc_byte_buffer *bytes_to_buffer(const RpcBytes *pieces, size_t n_pieces)
{
    g_autofree grpc_slice *slices = g_new(grpc_slice, n_pieces);
    for (size_t i = 0; i < n_pieces; i++)
        slices[i] = pieces[i].release
                        ? grpc_slice_new_with_user_data((void *)pieces[i].data, pieces[i].length,
                                                        pieces[i].release, pieces[i].owner)
                        : grpc_slice_from_copied_buffer(pieces[i].data, pieces[i].length);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, n_pieces);
    for (size_t i = 0; i < n_pieces; i++)
        grpc_slice_unref(slices[i]);
    return buffer;
}

int rpc_call_send(RpcCall *call, const RpcBytes *pieces, size_t n_pieces)
{
    size_t length = 0;
    for (size_t i = 0; i < n_pieces; i++)
        length += pieces[i].length;
    grpc_op ops[2];
    size_t n = 0;
    g_mutex_lock(&call->lock);
    int r = length > RPC_MESSAGE_MAX       ? -EMSGSIZE
            : call->over || call->finished ? -EPIPE
            : call->sending                ? -EAGAIN
                                           : 0;
    if (r == 0) {
        n = metadata_op(call, ops);
        call->sending = true;
        call->batches++;
    }
    g_mutex_unlock(&call->lock);
    if (r < 0) {
        bytes_release(pieces, n_pieces);
        return r;
    }
    call->message = bytes_to_buffer(pieces, n_pieces);
    ops[n] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[n].data.send_message.send_message = call->message;
    rpc_batch_start(call->core, ops, n + 1, &call->on_sent);
    return 0;
}

static void call_sent(void *object, bool ok)
{
    RpcCall *call = object;
    grpc_byte_buffer_destroy(g_steal_pointer(&call->message));
    grpc_op ops[2];
    size_t n = 0;
    g_mutex_lock(&call->lock);
    call->sending = false;
    if (call->finished && !call->over)
        n = status_ops(call, ops);
    bool ready = ok && !call->finished && !call->over;
    g_mutex_unlock(&call->lock);
    if (n > 0)
        rpc_batch_start(call->core, ops, n, &call->on_finished);
    if (ready && call->handlers.ready)
        call->handlers.ready(call, call->userdata);
    batch_done(call);
}

void rpc_call_finish(RpcCall *call, int status, const char *message)
{
    g_autofree char *clipped = g_strndup(message ? message : "", STATUS_TEXT_MAX);
    g_autofree char *text = g_utf8_make_valid(clipped, -1);
    grpc_op ops[2];
    size_t n = 0;
    g_mutex_lock(&call->lock);
    if (!call->finished && !call->over) {
        call->finished = true;
        call->status = status;
        call->text = grpc_slice_from_copied_string(text);
        /* Else call_sent() goes on. */
        if (!call->sending)
            n = status_ops(call, ops);
    }
    g_mutex_unlock(&call->lock);
    if (n > 0)
        rpc_batch_start(call->core, ops, n, &call->on_finished);
}

static void call_finished(void *object, bool ok)
{
    batch_done(object);
}

static void call_closed(void *object, bool ok)
{
    RpcCall *call = object;
    g_mutex_lock(&call->lock);
    call->over = true;
    int status = call->finished && !call->cancelled ? call->status : -ECANCELED;
    g_mutex_unlock(&call->lock);
    if (call->handlers.closed)
        call->handlers.closed(call, status, call->userdata);
    batch_done(call);
}

/* The thread alone sets `over`. */
static bool call_is_over(RpcCall *call)
{
    g_mutex_lock(&call->lock);
    bool over = call->over;
    g_mutex_unlock(&call->lock);
    return over;
}

static void call_requested(void *object, bool ok)
{
    RpcCall *call = object;
    RpcServer *server = call->server;
    const uint8_t *request;
    size_t length;
    if (!call->request)
        rpc_call_finish(call, -EINVAL, "the request is missing");
    else if (rpc_message_flatten(call->request, &server->flat, &request, &length) < 0)
        rpc_call_finish(call, -EINVAL, "compressed requests are not understood");
    else if (!call_is_over(call))
        call->method->start(call, request, length, server->userdata);
    grpc_byte_buffer_destroy(g_steal_pointer(&call->request));
    batch_done(call);
}

static const RpcMethod *find_method(const RpcServer *server, grpc_slice path)
{
    for (const RpcMethod *method = server->methods; method->path; method++)
        if (grpc_slice_str_cmp(path, method->path) == 0)
            return method;
    return NULL;
}

/* Takes the call that has come. */
static RpcCall *call_new(RpcServer *server)
{
    RpcCall *call = g_new0(RpcCall, 1);
    g_atomic_ref_count_init(&call->references);
    g_mutex_init(&call->lock);
    call->server = server;
    call->core = g_steal_pointer(&server->next);
    call->peer = grpc_call_get_peer(call->core);
    call->method = find_method(server, server->next_details.method);
    call->text = grpc_empty_slice();
    call->batches = call->method ? 2 : 1;
    call->on_request = (RpcEvent){call_requested, call};
    call->on_sent = (RpcEvent){call_sent, call};
    call->on_finished = (RpcEvent){call_finished, call};
    call->on_closed = (RpcEvent){call_closed, call};
    return call;
}

static void call_begin(RpcCall *call)
{
    grpc_op closed = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    closed.data.recv_close_on_server.cancelled = &call->cancelled;
    rpc_batch_start(call->core, &closed, 1, &call->on_closed);
    if (!call->method) {
        rpc_call_finish(call, -ENOSYS, "this server does not know the method");
        return;
    }
    grpc_op request = {.op = GRPC_OP_RECV_MESSAGE};
    request.data.recv_message.recv_message = &call->request;
    rpc_batch_start(call->core, &request, 1, &call->on_request);
}

/* ---- Server ----------------------------------------------------------------------------------*/

static void next_clear(RpcServer *server)
{
    grpc_call_details_destroy(&server->next_details);
    grpc_metadata_array_destroy(&server->next_metadata);
}

static void next_request(RpcServer *server)
{
    grpc_call_details_init(&server->next_details);
    grpc_metadata_array_init(&server->next_metadata);
    grpc_call_error error = grpc_server_request_call(
        server->core, &server->next, &server->next_details, &server->next_metadata, server->queue,
        server->queue, &server->on_call);
    if (error != GRPC_CALL_OK)
        g_error("grpc_server_request_call: %s", grpc_call_error_to_string(error));
}

static void call_cancel(grpc_call *core)
{
    grpc_call_cancel_with_status(core, GRPC_STATUS_UNAVAILABLE, "the server stops", NULL);
}

static void server_called(void *object, bool ok)
{
    RpcServer *server = object;
    if (!ok) { /* the server stops */
        next_clear(server);
        return;
    }
    RpcCall *call = call_new(server);
    next_clear(server);
    g_mutex_lock(&server->lock);
    g_hash_table_add(server->calls, call);
    bool stopping = server->stopping;
    g_mutex_unlock(&server->lock);
    call_begin(call);
    if (stopping)
        call_cancel(call->core);
    next_request(server);
}

static void server_stopped(void *object, bool ok)
{
    RpcServer *server = object;
    g_mutex_lock(&server->lock);
    server->stopped = true;
    g_cond_broadcast(&server->changed);
    g_mutex_unlock(&server->lock);
}

static grpc_server *core_new(void)
{
    grpc_arg args[RPC_COMMON_ARGS_MAX + 4];
    size_t n = rpc_common_args(args);
    /* Two servers on one port would share its connections at random. */
    args[n++] = rpc_arg(GRPC_ARG_ALLOW_REUSEPORT, 0);
    args[n++] = rpc_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024);
    args[n++] = rpc_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000);
    grpc_channel_args channel_args = {n, args};
    return grpc_server_create(&channel_args, NULL);
}

static bool server_listen(RpcServer *server, const char *text, bool insecure, GError **error)
{
    RpcEndpoint endpoint;
    if (!rpc_endpoint_parse(text, &endpoint, error))
        return false;
    unsigned port;
    bool ok = rpc_endpoint_check_plain(&endpoint, text, insecure, error) &&
              rpc_listen(server->core, &endpoint, text, &port, error);
    if (ok)
        g_array_append_val(server->ports, port);
    rpc_endpoint_clear(&endpoint);
    return ok;
}

RpcServer *rpc_server_new(const char *const *endpoints, bool insecure, const RpcMethod *methods,
                          void *userdata, GError **error)
{
    rpc_library_ref();
    RpcServer *server = g_new0(RpcServer, 1);
    server->core = core_new();
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->core, server->queue, NULL);
    server->methods = methods;
    server->userdata = userdata;
    server->ports = g_array_new(FALSE, FALSE, sizeof(unsigned));
    server->on_call = (RpcEvent){server_called, server};
    server->on_shutdown = (RpcEvent){server_stopped, server};
    server->calls = g_hash_table_new(NULL, NULL);
    g_mutex_init(&server->lock);
    g_cond_init(&server->changed);

    bool ok = true;
    for (size_t i = 0; ok && endpoints[i]; i++)
        ok = server_listen(server, endpoints[i], insecure, error);
    grpc_server_start(server->core);
    if (ok)
        next_request(server);
    server->thread = g_thread_new("rpc-server", rpc_queue_run, server->queue);
    return ok ? server : rpc_server_free(server);
}

unsigned rpc_server_port(const RpcServer *server, unsigned index)
{
    return index < server->ports->len ? g_array_index(server->ports, unsigned, index) : 0;
}

static void server_stop(RpcServer *server)
{
    grpc_server_shutdown_and_notify(server->core, server->queue, &server->on_shutdown);
    g_mutex_lock(&server->lock);
    server->stopping = true;
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, server->calls);
    /* The lock keeps batch_done() from ending the call meanwhile. */
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        RpcCall *call = key;
        g_mutex_lock(&call->lock);
        grpc_call *core = call->batches ? call->core : NULL;
        if (core)
            grpc_call_ref(core);
        g_mutex_unlock(&call->lock);
        if (core) {
            call_cancel(core);
            grpc_call_unref(core);
        }
    }
    while (!server->stopped || g_hash_table_size(server->calls) > 0)
        g_cond_wait(&server->changed, &server->lock);
    g_mutex_unlock(&server->lock);
}

RpcServer *rpc_server_free(RpcServer *server)
{
    if (!server)
        return NULL;
    server_stop(server);
    grpc_completion_queue_shutdown(server->queue);
    g_thread_join(server->thread);
    grpc_server_destroy(server->core);
    grpc_completion_queue_destroy(server->queue);
    g_array_unref(server->ports);
    g_hash_table_unref(server->calls);
    g_mutex_clear(&server->lock);
    g_cond_clear(&server->changed);
    g_free(server->flat.data);
    g_free(server);
    rpc_library_unref();
    return NULL;
}
