// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/rpc/client.h"

#include <errno.h>
#include <string.h>

struct RpcStream {
    grpc_call *core;
    RpcStreamHandlers handlers;
    void *userdata;
    RpcEvent on_opened, on_message, on_status;

    /* The client's thread's. */
    grpc_byte_buffer *request, *message;
    RpcFlat flat;
    grpc_metadata_array initial, trailing;
    grpc_status_code code;
    grpc_slice details;
    int failure; /* why we cancelled, if not at the caller's wish */

    GMutex lock;
    unsigned batches; /* under way */
    bool reading, over;
};

/* closed() comes after the last batch, so that nothing of the stream is in use any more. */
static void batch_done(RpcStream *stream)
{
    g_mutex_lock(&stream->lock);
    bool last = --stream->batches == 0;
    g_mutex_unlock(&stream->lock);
    if (!last)
        return;
    int status = stream->failure ? stream->failure : rpc_status_to_errno(stream->code);
    g_autofree char *text =
        stream->failure
            ? g_strdup("the peer sends compressed messages, which nobody asked for")
            : rpc_status_text(stream->code, (const char *)GRPC_SLICE_START_PTR(stream->details),
                              GRPC_SLICE_LENGTH(stream->details));
    stream->handlers.closed(stream, status, text, stream->userdata);
}

static void stream_opened(void *object, bool ok)
{
    RpcStream *stream = object;
    grpc_byte_buffer_destroy(g_steal_pointer(&stream->request));
    batch_done(stream);
}

static void stream_received(void *object, bool ok)
{
    RpcStream *stream = object;
    grpc_byte_buffer *message = g_steal_pointer(&stream->message);
    g_mutex_lock(&stream->lock);
    stream->reading = false;
    /* Without a message the stream is at its end, and the status comes. */
    stream->over = stream->over || !message;
    g_mutex_unlock(&stream->lock);
    const uint8_t *data;
    size_t length;
    uint8_t *(*room)(size_t, void *) = stream->handlers.room;
    int r = !message ? -ENODATA
            : room   ? rpc_message_copy(message, room, stream->userdata, &data, &length)
                     : rpc_message_flatten(message, &stream->flat, &data, &length);
    if (r == 0) {
        stream->handlers.message(stream, data, length, stream->userdata);
    } else if (message) {
        stream->failure = -EIO;
        rpc_stream_cancel(stream);
    }
    grpc_byte_buffer_destroy(message);
    batch_done(stream);
}

static void stream_status(void *object, bool ok)
{
    RpcStream *stream = object;
    g_mutex_lock(&stream->lock);
    stream->over = true;
    g_mutex_unlock(&stream->lock);
    batch_done(stream);
}

static void start_opening(RpcStream *stream)
{
    grpc_op ops[4] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA},
    };
    ops[1].data.send_message.send_message = stream->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    rpc_batch_start(stream->core, ops, G_N_ELEMENTS(ops), &stream->on_opened);
}

static void start_status(RpcStream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &stream->trailing;
    op.data.recv_status_on_client.status = &stream->code;
    op.data.recv_status_on_client.status_details = &stream->details;
    rpc_batch_start(stream->core, &op, 1, &stream->on_status);
}

static void start_reading(RpcStream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &stream->message;
    rpc_batch_start(stream->core, &op, 1, &stream->on_message);
}

void rpc_stream_read(RpcStream *stream)
{
    g_mutex_lock(&stream->lock);
    bool start = !stream->reading && !stream->over;
    if (start) {
        stream->reading = true;
        stream->batches++;
    }
    g_mutex_unlock(&stream->lock);
    if (start)
        start_reading(stream);
}

RpcStream *rpc_stream_open(RpcChannel *channel, const char *path, const void *request,
                           size_t length, const RpcStreamHandlers *handlers, void *userdata)
{
    RpcStream *stream = g_new0(RpcStream, 1);
    stream->core = rpc_channel_begin(channel, rpc_client_queue(rpc_channel_client(channel)), path,
                                     gpr_inf_future(GPR_CLOCK_MONOTONIC));
    stream->handlers = *handlers;
    stream->userdata = userdata;
    stream->on_opened = (RpcEvent){stream_opened, stream};
    stream->on_message = (RpcEvent){stream_received, stream};
    stream->on_status = (RpcEvent){stream_status, stream};
    g_mutex_init(&stream->lock);
    grpc_slice slice = grpc_slice_from_copied_buffer(request, length);
    stream->request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    /* All three at once: closed() comes after the last one. */
    stream->batches = 3;
    stream->reading = true;
    start_opening(stream);
    start_status(stream);
    start_reading(stream);
    return stream;
}

void rpc_stream_cancel(RpcStream *stream)
{
    grpc_call_cancel(stream->core, NULL);
}

RpcStream *rpc_stream_free(RpcStream *stream)
{
    if (!stream)
        return NULL;
    grpc_call_unref(stream->core);
    grpc_metadata_array_destroy(&stream->initial);
    grpc_metadata_array_destroy(&stream->trailing);
    grpc_slice_unref(stream->details);
    g_mutex_clear(&stream->lock);
    g_free(stream->flat.data);
    g_free(stream);
    return NULL;
}
