// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/rpc/core.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/support/log.h>
#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

G_DEFINE_QUARK(remora - rpc - error, rpc_error)

/* Threads of the library must not take the program's signals. */
static void signals_block(sigset_t *ret_old)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, ret_old);
}

/* gRPC logs what it also returns as a status (each refused connection), and Wireshark takes
 * anything on an extcap's stderr for an error. Only the last words before abort() pass. */
static void log_quietly(gpr_log_func_args *args)
{
    if (g_str_has_prefix(args->message, "assertion failed"))
        fprintf(stderr, "%s:%d: gRPC: %s\n", args->file, args->line, args->message);
}

/* gRPC allocates and frees a message's worth of memory for each message. By default glibc gives it
 * back to the kernel each time, and the page faults are a third of a reader's CPU time. Holds for
 * the whole process. */
static void allocator_keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 2 * RPC_MESSAGE_MAX);
    mallopt(M_TRIM_THRESHOLD, 4 * RPC_MESSAGE_MAX);
#endif
}

void rpc_library_ref(void)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        if (!getenv("GRPC_VERBOSITY"))
            gpr_set_log_function(log_quietly);
        allocator_keep_memory();
        g_once_init_leave(&once, 1);
    }
    sigset_t old;
    signals_block(&old);
    grpc_init();
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void rpc_library_unref(void)
{
    grpc_shutdown();
}

gpointer rpc_queue_run(gpointer data)
{
    grpc_completion_queue *queue = data;
    sigset_t old;
    signals_block(&old);
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        RpcEvent *done = event.tag;
        done->done(done->object, event.success);
    }
}

void rpc_batch_start(grpc_call *call, const grpc_op *ops, size_t n_ops, RpcEvent *event)
{
    grpc_call_error error = grpc_call_start_batch(call, ops, n_ops, event, NULL);
    /* Anything else would be a batch that contradicts an earlier one: our bug. */
    if (error != GRPC_CALL_OK)
        g_error("grpc_call_start_batch: %s", grpc_call_error_to_string(error));
}

grpc_arg rpc_arg(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

size_t rpc_common_args(grpc_arg *args)
{
    size_t n = 0;
    args[n++] = rpc_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX);
    args[n++] = rpc_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX);
    /* The limit above counts compressed bytes; what they unpack to is bounded by nothing. */
    args[n++] = rpc_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
    args[n++] = rpc_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);

    /* A peer that is gone without a word is noticed after 10 + 10 s. Only while calls are open
     * (KEEPALIVE_PERMIT_WITHOUT_CALLS is 0): an idle link sees no traffic. A stream may be silent
     * for hours in the client's direction, so pings need no data between them, and the server
     * must not take them for an attack (its own default is one in five minutes). */
    args[n++] = rpc_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
    args[n++] = rpc_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
    args[n++] = rpc_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
    args[n++] = rpc_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    args[n++] = rpc_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);

    /* For batches of 256 kB. Without the probe of bandwidth and delay the window of the whole
     * connection stays at 64 kB, whatever its streams may have. */
    args[n++] = (grpc_arg){.type = GRPC_ARG_STRING,
                           .key = (char *)GRPC_ARG_OPTIMIZATION_TARGET,
                           .value.string = (char *)"throughput"};
    args[n++] = rpc_arg(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1024 * 1024);
    args[n++] = rpc_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1024 * 1024);
    args[n++] = rpc_arg(GRPC_ARG_HTTP2_BDP_PROBE, 1);
    args[n++] = rpc_arg(GRPC_ARG_ENABLE_CHANNELZ, 0);
    g_assert(n <= RPC_COMMON_ARGS_MAX);
    return n;
}

int rpc_message_copy(grpc_byte_buffer *buffer, uint8_t *(*room)(size_t length, void *userdata),
                     void *userdata, const uint8_t **ret, size_t *ret_length)
{
    /* Nobody asked for compression, and it would hide any size. */
    if (buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return -EBADMSG;
    size_t length = grpc_byte_buffer_length(buffer), at = 0;
    if (length > RPC_MESSAGE_MAX)
        return -EMSGSIZE;
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return -EBADMSG;
    uint8_t *memory = room(length, userdata);
    grpc_slice *slice;
    while (grpc_byte_buffer_reader_peek(&reader, &slice)) {
        memcpy(memory + at, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
        at += GRPC_SLICE_LENGTH(*slice);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    *ret = memory;
    *ret_length = length;
    return 0;
}

/* The room of an RpcFlat. */
static uint8_t *flat_room(size_t length, void *userdata)
{
    RpcFlat *flat = userdata;
    if (!flat->data || flat->size < length) {
        g_free(flat->data);
        flat->data = g_malloc(length + 1);
        flat->size = length;
    }
    return flat->data;
}

int rpc_message_flatten(grpc_byte_buffer *buffer, RpcFlat *flat, const uint8_t **ret,
                        size_t *ret_length)
{
    return rpc_message_copy(buffer, flat_room, flat, ret, ret_length);
}
